//! The stream of incidents as server-sent events: first those that are not at rest, then every
//! incident whenever it changes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::{Incident, IncidentState};

use crate::route::Views;

/// Time between two looks at the version of the incidents. A view has no wake-up call, and a
/// comparison of two numbers ten times a second costs nothing while somebody watches.
const LOOK: Duration = Duration::from_millis(100);
/// Silence after which a comment is sent; the client takes three such silences for death.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What makes an incident worth another line.
type Face = (IncidentState, Option<RunId>, u64);

/// Which incidents were told as what.
#[derive(Debug, Default)]
struct Told {
    faces: HashMap<IncidentId, Face>,
    begun: bool,
}

impl Told {
    /// Those of `now` that are new or changed since the last call.
    fn changes(&mut self, now: Vec<Incident>) -> Vec<Incident> {
        let first = !std::mem::replace(&mut self.begun, true);
        let mut changed = Vec::new();
        for incident in now {
            let face = (incident.state, incident.run.clone(), incident.recurrences);
            let before = self.faces.insert(incident.id.clone(), face.clone());
            let news = before.as_ref() != Some(&face);
            if news && !(first && incident.state.at_rest()) {
                changed.push(incident);
            }
        }
        changed
    }
}

/// `GET /v1/incidents/watch`.
pub(crate) async fn incidents(
    State(views): State<Views>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    struct Watch {
        views: Views,
        told: Told,
        version: Option<u64>,
        pending: std::collections::VecDeque<Incident>,
    }
    let start = Watch {
        views,
        told: Told::default(),
        version: None,
        pending: std::collections::VecDeque::new(),
    };
    let stream = futures_util::stream::unfold(start, |mut watch| async move {
        loop {
            if let Some(incident) = watch.pending.pop_front() {
                let event = match Event::default().event("incident").json_data(&incident) {
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
            watch.version = Some(version);
            let views = watch.views.clone();
            match tokio::task::spawn_blocking(move || views.incidents()).await {
                Ok(now) => watch.pending.extend(watch.told.changes(now)),
                Err(error) => {
                    tracing::error!(%error, "api: the incidents could not be read");
                    return None;
                }
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
