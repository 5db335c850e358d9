//! A plain TCP service: each connection of a client is one connection to an instance, chosen as
//! a request's is. As long as nothing was sent, an instance that cannot be reached costs the
//! client nothing but time. It looks at no byte of what passes.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::greeting::{self, Ends};
use crate::lane::{DialError, Run};
use crate::pick::Tried;
use crate::queue::{self, Wait};
use crate::socket::{Socket, Stream};

/// Carries bytes both ways until both ends have closed or the instance is fenced.
pub(crate) async fn carry(client: Rc<Client>, mut near: Stream, ends: Ends) {
    let busy = client.hold();
    let core = Rc::clone(&client.hub.core);
    if let Some(cells) = core.shared.threads.get(core.thread) {
        cells.requests.bump();
    }
    let Some((mut run, mut far)) = reach(&client).await else {
        if let Some(cells) = core.shared.threads.get(core.thread) {
            cells.no_instance.bump();
        }
        return;
    };
    let service = client.service();
    if let Some(version) = service.front.proxy_out {
        let header = greeting::write(version, Some(ends));
        if far.write_all(&header).await.is_err() {
            run.unanswered(true);
            return;
        }
    }
    // What is measured of a connection is the time until it stands.
    let now = Instant::now();
    run.answered(false, now, now);
    run.lane.cells(|cells| cells.tunnels.bump());
    let (done, ended) = oneshot::channel::<()>();
    let lane = Rc::clone(&run.lane);
    lane.drive(async move {
        let _both = (run, busy, done);
        // However it ends, both ends are closed with it.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let _ = ended.await;
}

/// A connection to an instance; waits for one like a request.
async fn reach(client: &Rc<Client>) -> Option<(Run, Socket)> {
    let started = Instant::now();
    let service = client.service();
    service.cells.count(client.hub.core.thread);
    let settings = std::sync::Arc::clone(&service.settings);
    let due = started + std::time::Duration::from_millis(settings.queue_timeout_ms);
    let timeout = std::time::Duration::from_millis(settings.connect_timeout_ms);
    let mut tried = Tried::default();
    let mut ticket = None;
    loop {
        let changed = client.hub.changed.notified();
        let service = client.service();
        let lane = if tried.is_empty() {
            service.pick(None)
        } else {
            service.other(&tried, None)
        };
        if let Some(lane) = lane {
            let mut run = Run::begin(lane, started, false);
            match run.lane.connect(timeout).await {
                Ok(far) => return Some((run, far)),
                Err(error) => {
                    tried.add(run.lane.end.id);
                    tracing::debug!(instance = %run.lane.end.subject.instance, %error, "not reached");
                    if matches!(error, DialError::Fenced) {
                        run.void();
                    } else {
                        run.unreachable();
                    }
                }
            }
            if tried.full() {
                return None;
            }
            continue;
        }
        if ticket.is_none() {
            ticket = Some(queue::enter(&service.cells, &settings, 0, Wait::Instance)?);
        }
        let wheel = &client.hub.core.wheel;
        wheel.until(pin!(changed), due).await?;
    }
}
