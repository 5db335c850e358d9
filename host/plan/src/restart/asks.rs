//! Operations: one at a time for an instance, the others wait; each ends in an outcome.

use grace_model::command::Outcome;
use grace_model::event::RestartBy;
use grace_model::id::OpId;

use super::{Action, Ask, Hold, Machine, Next, Pending, Phase, RESUME_MS, Signal, WAITING_MAX};

impl Machine {
    /// Whether the operation is in hand or waits.
    #[must_use]
    pub fn has_operation(&self, op: &OpId) -> bool {
        self.current
            .iter()
            .chain(&self.waiting)
            .any(|pending| pending.op == *op)
    }

    pub(super) fn ask(&mut self, op: OpId, ask: Ask, _now: u64, out: &mut Vec<Action>) {
        if self.has_operation(&op) {
            return;
        }
        if self.retired.is_some() || self.ends_for(Next::Rest) {
            refuse(op, "the instance is being stopped", out);
            return;
        }
        if self.is_stuck() {
            refuse(
                op,
                "its process was killed and is still there; see its reason",
                out,
            );
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            refuse(
                op,
                "too many operations wait for this instance; try again later",
                out,
            );
            return;
        }
        self.waiting.push_back(Pending { op, ask });
    }

    /// Takes up waiting operations as long as the instance is at rest.
    pub(super) fn take_up(&mut self, now: u64, out: &mut Vec<Action>) {
        while self.current.is_none() && !self.is_spawning() && !self.is_ending() {
            let Some(pending) = self.waiting.pop_front() else {
                return;
            };
            self.begin(pending, now, out);
        }
    }

    fn begin(&mut self, pending: Pending, now: u64, out: &mut Vec<Action>) {
        let Pending { op, ask } = pending;
        if let Phase::Down { .. } = self.phase {
            match ask {
                Ask::Restart(_) => {
                    self.hold = Hold::Free;
                    self.charge = None;
                    self.owed = None;
                    self.current = Some(Pending { op, ask });
                    out.push(Action::Planned {
                        by: RestartBy::Operation,
                        delay_ms: 0,
                    });
                    self.spawn(out);
                }
                Ask::Release => {
                    self.hold = Hold::Free;
                    done(op, 0, out);
                }
                Ask::Pause | Ask::Resume | Ask::Drain | Ask::Quarantine => {
                    refuse(op, "no process runs; restart the instance first", out);
                }
            }
            return;
        }
        let paused = matches!(self.hold, Hold::Paused);
        match ask {
            Ask::Restart(mode) => {
                self.reason = "restarted by an operation".to_owned();
                self.current = Some(Pending { op, ask });
                self.end(mode, Next::Restart, now, out);
            }
            Ask::Pause if paused => done(op, 0, out),
            Ask::Pause => {
                self.reason = "paused by an operation".to_owned();
                self.current = Some(Pending { op, ask });
                self.hold = Hold::Pausing(now.saturating_add(self.policy.drain_timeout_ms));
            }
            Ask::Resume => self.resume(op, now, out),
            Ask::Drain | Ask::Quarantine if paused => {
                refuse(op, "it is paused; resume it first", out);
            }
            Ask::Drain => {
                self.reason = "drained by an operation".to_owned();
                self.current = Some(Pending { op, ask });
                let until = now.saturating_add(self.policy.drain_timeout_ms);
                self.hold = Hold::Draining(Some(until));
            }
            Ask::Quarantine => {
                self.reason = "quarantined by an operation".to_owned();
                self.hold = Hold::Quarantined;
                done(op, 0, out);
            }
            Ask::Release if paused => refuse(op, "it is paused; resume it instead", out),
            Ask::Release => {
                self.go_free();
                done(op, 0, out);
            }
        }
    }

    fn resume(&mut self, op: OpId, now: u64, out: &mut Vec<Action>) {
        let Phase::Up(up) = &self.phase else { return };
        out.push(Action::Signal(Signal::Continue));
        if up.stopped {
            self.current = Some(Pending {
                op,
                ask: Ask::Resume,
            });
            self.hold = Hold::Resuming(now.saturating_add(RESUME_MS));
        } else {
            if matches!(self.hold, Hold::Paused) {
                self.go_free();
            }
            done(op, 0, out);
        }
    }

    /// Back towards rotation: requests may be in flight from now on.
    pub(super) fn go_free(&mut self) {
        self.hold = Hold::Free;
        if let Phase::Up(up) = &mut self.phase {
            up.idle = false;
        }
    }

    /// SIGSTOP for a pause whose requests have ended.
    pub(super) fn stop_now(&mut self, out: &mut Vec<Action>) {
        if let Phase::Up(up) = &mut self.phase {
            up.stopped = true;
            self.hold = Hold::Paused;
            out.push(Action::Signal(Signal::Stop));
            self.finish(0, out);
        }
    }

    pub(super) fn hold_timed_out(&mut self, out: &mut Vec<Action>) {
        match self.hold {
            Hold::Draining(_) => {
                self.hold = Hold::Draining(None);
                self.time_out(
                    "requests were still in flight; the instance stays drained",
                    out,
                );
            }
            // A pause has said how long it waits; then it stops whatever is in flight.
            Hold::Pausing(_) => self.stop_now(out),
            Hold::Resuming(_) => {
                self.hold = Hold::Paused;
                self.time_out("the process was told to go on and is still stopped", out);
            }
            Hold::Free | Hold::Quarantined | Hold::Paused => {}
        }
    }

    /// The process died under a hold. A drain has then reached its end; a pause has not.
    pub(super) fn end_of_held(&mut self, out: &mut Vec<Action>) {
        match self.hold {
            Hold::Draining(Some(_)) => {
                self.hold = Hold::Draining(None);
                self.finish(0, out);
            }
            Hold::Pausing(_) | Hold::Resuming(_) => {
                self.hold = Hold::Free;
                self.time_out("its process ended", out);
            }
            Hold::Paused => self.hold = Hold::Free,
            Hold::Free | Hold::Draining(None) | Hold::Quarantined => {}
        }
    }

    /// A process ends for another reason than the operation in hand.
    pub(super) fn end_of_other(&mut self, reason: &str, out: &mut Vec<Action>) {
        let restarts = self
            .current
            .as_ref()
            .is_some_and(|pending| matches!(pending.ask, Ask::Restart(_)));
        if !restarts {
            self.time_out(reason, out);
        }
    }

    /// The new process of a restart runs.
    pub(super) fn finish_restart(&mut self, out: &mut Vec<Action>) {
        if matches!(
            &self.current,
            Some(Pending {
                ask: Ask::Restart(_),
                ..
            })
        ) {
            self.finish(self.generation, out);
        }
    }

    pub(super) fn fail_restart(&mut self, reason: &str, out: &mut Vec<Action>) {
        self.time_out(&format!("no new process could be started: {reason}"), out);
    }

    pub(super) fn finish(&mut self, number: u64, out: &mut Vec<Action>) {
        if let Some(pending) = self.current.take() {
            done(pending.op, number, out);
        }
    }

    pub(super) fn time_out(&mut self, reason: &str, out: &mut Vec<Action>) {
        if let Some(pending) = self.current.take() {
            let outcome = Outcome::TimedOut {
                reason: reason.to_owned(),
            };
            out.push(Action::Finish {
                op: pending.op,
                outcome,
            });
        }
    }

    pub(super) fn refuse_waiting(&mut self, reason: &str, out: &mut Vec<Action>) {
        self.time_out(reason, out);
        for pending in std::mem::take(&mut self.waiting) {
            refuse(pending.op, reason, out);
        }
    }
}

fn done(op: OpId, number: u64, out: &mut Vec<Action>) {
    out.push(Action::Finish {
        op,
        outcome: Outcome::Done { number },
    });
}

fn refuse(op: OpId, reason: &str, out: &mut Vec<Action>) {
    let outcome = Outcome::Refused {
        unknown_target: false,
        reason: reason.to_owned(),
    };
    out.push(Action::Finish { op, outcome });
}
