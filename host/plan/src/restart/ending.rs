//! How a process ends, by our wish or not, and what follows: the reflex and its budgets.

use grace_model::command::StopMode;
use grace_model::event::RestartBy;
use grace_model::instance::ExitCause;

use super::{
    Action, Charge, EndStep, Ending, FENCE_MS, Hold, KILL_CONFIRM_MS, Machine, Next, Phase, Signal,
};

impl Machine {
    /// Begins to end the process: first the proxy, then signals.
    pub(super) fn end(&mut self, mode: StopMode, next: Next, now: u64, out: &mut Vec<Action>) {
        let drain_ms = self.policy.drain_timeout_ms;
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let idle = up.idle;
        // Requests in flight on a stopped process never end: nothing to be graceful about.
        let mode = if up.stopped { StopMode::Kill } else { mode };
        let wait = match mode {
            StopMode::Graceful => drain_ms,
            StopMode::Kill => drain_ms.min(FENCE_MS),
        };
        let step = EndStep::Traffic {
            mode,
            until: now.saturating_add(wait),
        };
        up.ending = Some(Ending { step, next });
        // The proxy says once that nothing is in flight; a hold may have heard it already.
        if idle {
            self.signal_end(mode, now, out);
        }
    }

    pub(super) fn fence(&mut self, now: u64, out: &mut Vec<Action>) {
        let Phase::Up(up) = &self.phase else { return };
        let next = match &up.ending {
            // Graceful so far: from now on it gets no more time.
            Some(ending) if matches!(ending.step, EndStep::Kill { .. }) => return,
            Some(Ending {
                step:
                    EndStep::Traffic {
                        mode: StopMode::Kill,
                        ..
                    },
                ..
            }) => return,
            Some(ending) => ending.next,
            None => Next::Reflex,
        };
        if next == Next::Reflex {
            self.reason = format!("fenced: {}", up.told_reason());
        }
        self.end(StopMode::Kill, next, now, out);
    }

    pub(super) fn renew(&mut self, now: u64, out: &mut Vec<Action>) {
        self.owed = None;
        self.charge = None;
        self.backoff_ms = self.policy.restart.backoff_min_ms;
        match &mut self.phase {
            Phase::Down { .. } => {
                self.hold = Hold::Free;
                out.push(Action::Planned {
                    by: RestartBy::Operation,
                    delay_ms: 0,
                });
                self.spawn(out);
            }
            Phase::Spawning => {}
            Phase::Up(up) => match &mut up.ending {
                Some(ending) => ending.next = Next::Restart,
                None => {
                    self.reason = "replaced by another version".to_owned();
                    self.end(StopMode::Graceful, Next::Restart, now, out);
                }
            },
        }
    }

    pub(super) fn retire(&mut self, mode: StopMode, now: u64, out: &mut Vec<Action>) {
        self.refuse_waiting("the instance is being stopped", out);
        self.reason = "stopped on purpose".to_owned();
        let charge = self.charge.take();
        if self.policy.led {
            self.owed = self.owed.or(charge);
        }
        match &mut self.phase {
            Phase::Down { .. } => {
                self.phase = Phase::Down {
                    retry_at: None,
                    failed: false,
                };
            }
            Phase::Spawning => self.retired = Some(mode),
            Phase::Up(up) => match &mut up.ending {
                Some(ending) => {
                    ending.next = Next::Rest;
                    if mode == StopMode::Kill && !matches!(ending.step, EndStep::Kill { .. }) {
                        self.end(mode, Next::Rest, now, out);
                    }
                }
                None => self.end(mode, Next::Rest, now, out),
            },
        }
    }

    /// The proxy has nothing in flight on this process any more.
    pub(super) fn drained(&mut self, now: u64, out: &mut Vec<Action>) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.idle = up.ending.is_some() || self.hold != Hold::Free;
        match &up.ending {
            Some(Ending {
                step: EndStep::Traffic { mode, .. },
                ..
            }) => {
                let mode = *mode;
                self.signal_end(mode, now, out);
            }
            Some(_) => {}
            None => match self.hold {
                Hold::Draining(Some(_)) => {
                    self.hold = Hold::Draining(None);
                    self.finish(0, out);
                }
                Hold::Pausing(_) => self.stop_now(out),
                _ => {}
            },
        }
    }

    fn signal_end(&mut self, mode: StopMode, now: u64, out: &mut Vec<Action>) {
        let term_until = now.saturating_add(self.policy.stop_timeout_ms);
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let stopped = up.stopped;
        let Some(ending) = &mut up.ending else { return };
        // SIGTERM never arrives at a stopped process.
        if mode == StopMode::Graceful && !stopped {
            ending.step = EndStep::Term { until: term_until };
            out.push(Action::Signal(Signal::Term));
        } else {
            ending.step = EndStep::Kill {
                until: Some(now.saturating_add(KILL_CONFIRM_MS)),
            };
            out.push(Action::Signal(Signal::Kill));
        }
    }

    /// Goes to the next step of an end when the time of the one before has passed.
    pub(super) fn escalate(&mut self, now: u64, out: &mut Vec<Action>) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let Some(ending) = &mut up.ending else { return };
        match ending.step {
            EndStep::Traffic { mode, until } if until <= now => self.signal_end(mode, now, out),
            EndStep::Term { until } if until <= now => self.signal_end(StopMode::Kill, now, out),
            EndStep::Kill { until: Some(until) } if until <= now => {
                ending.step = EndStep::Kill { until: None };
                self.reason = "it was killed and is still there: it hangs in the kernel".to_owned();
                self.refuse_waiting("the process was killed and its death is not confirmed", out);
            }
            _ => {}
        }
    }

    pub(super) fn start_timed_out(&mut self, now: u64, out: &mut Vec<Action>) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        self.reason = format!(
            "not ready {} ms after its start: {}",
            self.policy.start_timeout_ms, up.reason
        );
        up.ending = Some(Ending {
            step: EndStep::Term { until: now },
            next: Next::Reflex,
        });
        self.signal_end(StopMode::Graceful, now, out);
    }

    pub(super) fn ends_for(&self, next: Next) -> bool {
        matches!(&self.phase, Phase::Up(up) if up.ending.as_ref().is_some_and(|e| e.next == next))
    }

    /// Whether its death was waited for in vain.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        matches!(&self.phase, Phase::Up(up) if up.ending.as_ref()
            .is_some_and(|e| e.step == EndStep::Kill { until: None }))
    }

    /// The process is gone.
    pub(super) fn exited(&mut self, cause: &ExitCause, now: u64, out: &mut Vec<Action>) {
        self.note_death(now);
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let ending = up.ending.take();
        self.phase = Phase::Down {
            retry_at: None,
            failed: false,
        };
        match ending.map(|ending| ending.next) {
            Some(Next::Rest) => {
                self.hold = Hold::Free;
                self.time_out("the instance was stopped", out);
            }
            Some(Next::Restart) => {
                self.hold = Hold::Free;
                self.end_of_other("its process was replaced", out);
                out.push(Action::Planned {
                    by: RestartBy::Operation,
                    delay_ms: 0,
                });
                self.spawn(out);
            }
            Some(Next::Reflex) => {
                self.end_of_held(out);
                let reason = self.reason.clone();
                self.reflex(Charge::Own, &reason, now, out);
            }
            None => {
                self.end_of_held(out);
                let charge = if cause.external() {
                    Charge::External
                } else {
                    Charge::Own
                };
                self.reflex(
                    charge,
                    &format!("its process ended ({})", cause.text()),
                    now,
                    out,
                );
            }
        }
    }

    /// Good health up to the death still counts for the backoff.
    fn note_death(&mut self, now: u64) {
        let restart = &self.policy.restart;
        if let Phase::Up(up) = &self.phase {
            let healthy = up
                .healthy_since
                .map_or(0, |since| now.saturating_sub(since));
            if up.healthy_since.is_some() && healthy >= restart.healthy_ms {
                self.backoff_ms = restart.backoff_min_ms;
            }
        }
    }

    /// What follows a death that nobody asked for.
    pub(super) fn reflex(&mut self, charge: Charge, reason: &str, now: u64, out: &mut Vec<Action>) {
        self.deaths = self.deaths.saturating_add(1);
        if !self.policy.restart.reflex {
            self.phase = Phase::Down {
                retry_at: None,
                failed: true,
            };
            self.reason = format!("{reason}; the reflex is off");
            return;
        }
        if self.policy.led {
            self.phase = Phase::Down {
                retry_at: None,
                failed: false,
            };
            reason.clone_into(&mut self.reason);
            self.owed = Some(charge);
            return;
        }
        self.plan_restart(charge, reason, now, out);
    }

    /// Plans a restart within the budget, or gives up.
    pub(super) fn plan_restart(
        &mut self,
        charge: Charge,
        reason: &str,
        now: u64,
        out: &mut Vec<Action>,
    ) {
        let restart = self.policy.restart.clone();
        let (budget, max, delay_ms) = match charge {
            Charge::External => (&self.external, restart.external_max, 0),
            Charge::Own => (&self.own, restart.own_max, self.backoff_ms),
        };
        let at = now.saturating_add(delay_ms);
        if !budget.allows(at, max, restart.window_ms) {
            let restarts = budget.used(at, restart.window_ms);
            self.phase = Phase::Down {
                retry_at: None,
                failed: true,
            };
            self.reason = format!(
                "{reason}; given up after {restarts} restarts in {} ms",
                restart.window_ms
            );
            out.push(Action::Exhausted {
                restarts,
                window_ms: restart.window_ms,
            });
            return;
        }
        if charge == Charge::Own {
            self.backoff_ms = self
                .backoff_ms
                .saturating_mul(2)
                .min(restart.backoff_max_ms);
        }
        self.reason = format!("{reason}; restarts in {delay_ms} ms");
        self.charge = Some(charge);
        self.phase = Phase::Down {
            retry_at: Some(at),
            failed: false,
        };
        out.push(Action::Planned {
            by: RestartBy::Reflex,
            delay_ms,
        });
    }

    /// Counts the planned restart when it is made.
    pub(super) fn spend(&mut self, now: u64) {
        let window_ms = self.policy.restart.window_ms;
        match self.charge.take() {
            Some(Charge::External) => self.external.spend(now, window_ms),
            Some(Charge::Own) => self.own.spend(now, window_ms),
            None => {}
        }
    }
}
