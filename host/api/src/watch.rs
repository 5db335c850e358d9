//! The stream of incidents as server-sent events: first those that are not at rest, then every
//! change of every incident, by its number in the ledger. Who was away asks behind the last number
//! that it saw and misses nothing, also over the healer's death.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use grace_model::incident::Incident;
use grace_model::port::HostViews;
use serde::Deserialize;

use crate::problem::Refusal;
use crate::route::Views;

/// Time between two looks at the version of the incidents. A view has no wake-up call, and a
/// comparison of two numbers ten times a second costs nothing while somebody watches.
const LOOK: Duration = Duration::from_millis(100);
/// Silence after which a comment is sent; the client takes three such silences for death.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Where a watcher goes on.
#[derive(Debug, Deserialize)]
pub(crate) struct From {
    /// The last number that it saw. A browser says it in the header `last-event-id`.
    after: Option<u64>,
}

/// How far a watcher has been told.
struct Watch {
    views: Views,
    /// The last ledger entry that was looked at; none: nothing was told yet.
    seq: Option<u64>,
    version: Option<u64>,
    pending: VecDeque<(u64, Incident)>,
}

/// What is new behind `seq`, and up to where.
fn news(views: &dyn HostViews, seq: Option<u64>) -> (u64, Vec<(u64, Incident)>) {
    if let Some(after) = seq
        && let Some(part) = views.incident_changes(after)
    {
        return (part.seq, part.changes);
    }
    // Nothing was told yet, or it was of another ledger.
    let (seq, all) = views.incidents_at();
    let open = all.into_iter().filter(|one| !one.state.at_rest());
    (seq, open.map(|one| (seq, one)).collect())
}

/// `GET /v1/incidents/watch`.
pub(crate) async fn incidents(
    State(views): State<Views>,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let Query(from) = from.map_err(|rejection| {
        Refusal::new(
            rejection.status(),
            rejection.body_text(),
            "`after` is the number of an event that you have seen: ?after=7",
        )
    })?;
    let header = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let start = Watch {
        views,
        seq: from.after.or(header),
        version: None,
        pending: VecDeque::new(),
    };
    let stream = futures_util::stream::unfold(start, |mut watch| async move {
        loop {
            if let Some((seq, incident)) = watch.pending.pop_front() {
                let event = Event::default().event("incident").id(seq.to_string());
                let event = match event.json_data(&incident) {
                    Ok(event) => event,
                    Err(error) => Event::default().comment(error.to_string()),
                };
                return Some((Ok(event), watch));
            }
            let version = watch.views.incidents_version();
            if watch.version == Some(version) {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let (views, seq) = (watch.views.clone(), watch.seq);
            match tokio::task::spawn_blocking(move || news(views.as_ref(), seq)).await {
                Ok((now, changes)) => {
                    // A part that brought something on may have another behind it.
                    if watch.seq == Some(now) {
                        watch.version = Some(version);
                    }
                    watch.seq = Some(now);
                    watch.pending.extend(changes);
                }
                Err(error) => {
                    tracing::error!(%error, "api: the incidents could not be read");
                    return None;
                }
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
