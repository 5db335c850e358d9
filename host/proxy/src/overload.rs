//! Limits of instances: control's part of what `limit` finds. It knows what threads counted, and
//! holds no request back.

use std::time::Instant;

use grace_model::config::Protocol;

use crate::control::Control;
use crate::meter;
use crate::routes::Routes;

impl Control {
    /// Gives every instance that a table speaks of its limit, or none.
    pub(crate) fn set_limits(&self, routes: &Routes) {
        for service in &routes.services {
            let limited = routes.settings.limit && service.front.protocol != Protocol::Tcp;
            for target in &service.targets {
                let known = self.watched.get(&target.end.id);
                let limit = known.map_or(meter::NONE, |it| it.limiter.limit());
                target
                    .end
                    .meter
                    .set_limit(if limited { limit } else { meter::NONE });
            }
        }
    }

    /// Looks at what became of every limit since the last time.
    pub(crate) fn look_at_limits(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.born);
        for watched in self.watched.values_mut() {
            let meter = &watched.end.meter;
            if meter.limit() == meter::NONE {
                continue;
            }
            let waiting = self
                .cells
                .get(&watched.end.subject.service)
                .is_some_and(|cells| cells.queue.requests() > 0);
            let seen = meter.look(&mut watched.sums, waiting);
            let was = watched.limiter.is_awake();
            watched.limiter.look(&seen, time);
            meter.set_limit(watched.limiter.limit());
            if was != watched.limiter.is_awake() {
                let subject = &watched.end.subject;
                let limit = watched.limiter.limit();
                if was {
                    tracing::info!(instance = %subject.instance, limit, "nobody waits for it any more");
                } else {
                    tracing::info!(instance = %subject.instance, limit, "it has as many requests as it can use; others wait");
                }
            }
        }
    }
}
