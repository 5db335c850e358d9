//! Requests that wait: for an instance when there is none, or for room on one. It chooses no
//! instance and sends nothing.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select;

use crate::answer::Refusal;
use crate::forward::Call;
use crate::lane::Run;
use crate::queue::{self, Wait};

/// Room that other threads left is looked for this often, by the first in the line.
const LOOK: Duration = Duration::from_millis(10);

impl Call {
    /// Waits in the service's line for an instance that may have it.
    pub(crate) async fn wait_for_instance(&mut self) -> Result<Run, Refusal> {
        let settings = Arc::clone(&self.service.settings);
        let body = self.store.as_ref().map_or(0, |store| store.memory());
        let hub = Rc::clone(&self.client.hub);
        // Who was tried before waits for certain instances only and must not hold others up.
        let place = self
            .tried
            .is_empty()
            .then(|| self.service.line.stand(self.standing.rank));
        let mut ticket = None;
        loop {
            let changed = hub.changed.notified();
            self.service = self.client.service();
            let is_first = place.as_ref().is_none_or(|place| place.is_first());
            if is_first && let Some(lane) = self.pick() {
                return Ok(Run::begin(lane, Instant::now(), false));
            }
            let now = Instant::now();
            let wait = if self.service.is_served(&self.tried) {
                Wait::Room(self.standing.rank)
            } else {
                Wait::Instance
            };
            let due = self.queued.due(wait, &settings, now);
            if now >= due {
                return Err(wait.refusal(Refusal::NoInstance));
            }
            if ticket.is_none() {
                let entered = queue::enter(&self.service.cells, &settings, body, wait);
                match entered {
                    None => return Err(wait.refusal(Refusal::QueueFull)),
                    entered => ticket = entered,
                }
            }
            let looks = is_first && wait != Wait::Instance;
            let next = if looks { due.min(now + LOOK) } else { due };
            let wheel = &hub.core.wheel;
            match &place {
                Some(place) => {
                    // Another view, a call, or time.
                    let (changed, called) = (pin!(changed), pin!(place.called()));
                    wheel.until(pin!(select(changed, called)), next).await;
                }
                None => {
                    wheel.until(pin!(changed), next).await;
                }
            }
        }
    }
}

impl Wait {
    /// What is said when it was in vain; `otherwise` where there is no instance.
    fn refusal(self, otherwise: Refusal) -> Refusal {
        match self {
            Wait::Instance => otherwise,
            Wait::Room(_) => Refusal::Shed,
        }
    }
}
