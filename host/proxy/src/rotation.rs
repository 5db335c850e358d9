//! Out of the rotation and back: control's part of what `eject` decides, with what it knows of
//! an instance's siblings. It probes nothing and sends no request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::event::{ProcessState, Subject, What};
use grace_model::instance::State;

use crate::control::Control;
use crate::eject::{Facts, Step, Trouble, most_out};
use crate::endpoint::Endpoint;
use crate::fate;
use crate::ramp::{self, Pace, Ramp, Turn};

/// Suspects of one death are gathered for this long.
const GATHER: Duration = Duration::from_millis(200);

impl Control {
    /// Looks at what is due: returns, trials, gathered suspects.
    pub(crate) fn look(&mut self, now: Instant) {
        let due: Vec<u64> = self
            .suspects
            .iter()
            .filter(|(_, it)| now.saturating_duration_since(it.0) >= GATHER)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some((_, end, requests)) = self.suspects.remove(&id) {
                self.record.write(What::Suspects {
                    subject: end.subject.clone(),
                    requests,
                });
            }
        }
        let retry = self.shared.routes.load().settings.retry;
        let probed = self.probed_by_http();
        let mut back = Vec::new();
        for (id, watched) in &mut self.watched {
            let facts = Facts {
                probed: probed.contains(&watched.end.subject.service),
                stopped: watched.end.stopped(),
                retry,
            };
            match watched.ejections.step(facts, now) {
                Step::Wait => {}
                Step::Return => back.push(*id),
                Step::OfferTrial => {
                    watched.end.offer_trial();
                    self.shared.bump();
                }
            }
        }
        for id in back {
            self.put_back(id, now);
        }
        self.look_at_ramps(now);
        if self.watched.values().any(|it| it.limiter.is_awake()) {
            self.look_at_limits(now);
        }
    }

    /// Has an instance that was ejected come back by and by. How new ones come is the
    /// supervisor's, who says so by their weights.
    pub(crate) fn begin_ramp(&mut self, id: u64, now: Instant) {
        if self.shared.routes.load().settings.ramp_ms == 0 {
            return;
        }
        if let Some(watched) = self.watched.get_mut(&id) {
            let ramp = Ramp::begin(now, watched.end.failures());
            watched.end.set_share(ramp.percent());
            watched.ramp = Some(ramp);
            self.shared.bump();
        }
    }

    fn look_at_ramps(&mut self, now: Instant) {
        let each = Duration::from_millis(self.shared.routes.load().settings.ramp_ms);
        let mut changed = false;
        for watched in self.watched.values_mut() {
            let Some(ramp) = &mut watched.ramp else {
                continue;
            };
            let turn = ramp.look(now, each, watched.end.failures());
            changed |= turn != Turn::Stay;
            watched.end.set_share(ramp.percent());
            if turn == Turn::Back {
                tracing::info!(instance = %watched.end.subject.instance, "failed while it came back");
            }
            if turn == Turn::Done {
                watched.ramp = None;
            }
        }
        if changed {
            self.shared.bump();
        }
    }

    /// Sets those back that are on their way and much slower than their siblings in a window.
    pub(crate) fn compare(&mut self, window: &[What], now: Instant) {
        if self.watched.values().all(|it| it.ramp.is_none()) {
            return;
        }
        let paces: Vec<(&Subject, Pace)> = window
            .iter()
            .filter_map(|what| match what {
                What::Traffic {
                    subject,
                    requests,
                    p50_us,
                    ..
                } => Some((
                    subject,
                    Pace {
                        requests: *requests,
                        p50_us: *p50_us,
                    },
                )),
                _ => None,
            })
            .collect();
        let mut changed = false;
        for watched in self.watched.values_mut() {
            let subject = &watched.end.subject;
            let Some(ramp) = &mut watched.ramp else {
                continue;
            };
            let Some((_, own)) = paces.iter().find(|(it, _)| *it == subject) else {
                continue;
            };
            let siblings: Vec<Pace> = paces
                .iter()
                .filter(|(it, _)| it.service == subject.service && *it != subject)
                .map(|(_, pace)| *pace)
                .collect();
            if ramp::is_slow(*own, &siblings) {
                ramp.set_back(now);
                watched.end.set_share(ramp.percent());
                tracing::info!(instance = %subject.instance, "slow while it came back");
                changed = true;
            }
        }
        if changed {
            self.shared.bump();
        }
    }

    pub(crate) fn eject_stopped(&mut self, end: &Arc<Endpoint>, now: Instant) {
        let Some(watched) = self.watched.get(&end.id) else {
            return;
        };
        if watched.ejections.trouble() == Some(Trouble::Stopped) {
            return;
        }
        let paused = self
            .state_of(end)
            .is_some_and(|state| state == State::Paused);
        if !paused {
            self.eject(
                end,
                Trouble::Stopped,
                "its process is stopped".to_owned(),
                now,
            );
        }
    }

    /// Takes an instance out, unless it would be missed more than it harms.
    pub(crate) fn eject(
        &mut self,
        end: &Arc<Endpoint>,
        trouble: Trouble,
        reason: String,
        now: Instant,
    ) {
        if end.dead() || fate::look(end) == ProcessState::Gone {
            // That is more than an ejection, and its own event says so.
            return;
        }
        let routes = self.shared.routes.load_full();
        let Some(service) = routes.service(&end.subject.service) else {
            return;
        };
        let takes = |state: State| matches!(state, State::Ready | State::Degraded);
        let mut others = 0;
        let mut out = 0;
        for target in &service.targets {
            if target.end.id == end.id || !takes(target.state) || target.weight == 0 {
                continue;
            }
            if target.end.clear() {
                others += 1;
            } else if target.end.ejected() {
                out += 1;
            }
        }
        let most = most_out(others + out + 1, trouble);
        // A stopped one is of no use, whether it is the last or not.
        if trouble != Trouble::Stopped && (others == 0 || out >= most) {
            return;
        }
        let Some(watched) = self.watched.get_mut(&end.id) else {
            return;
        };
        if watched.ejections.active() && trouble != Trouble::Stopped {
            return;
        }
        watched.ejections.eject(trouble, now);
        self.ejections += 1;
        end.mark_ejected();
        self.shared.bump();
        self.record.write(What::Ejected {
            subject: end.subject.clone(),
            reason,
        });
    }

    pub(crate) fn put_back(&mut self, id: u64, now: Instant) {
        let Some(watched) = self.watched.get_mut(&id) else {
            return;
        };
        if !watched.ejections.active() {
            return;
        }
        watched.ejections.end(now);
        watched.end.mark_returned();
        self.shared.bump();
        let subject = watched.end.subject.clone();
        self.record.write(What::Returned { subject });
        self.begin_ramp(id, now);
    }
}
