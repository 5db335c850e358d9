//! Carrying out what machines decided, in an order that a kill at any point leaves whole:
//! what was decided is kept, operations' ends are journalled, the proxy is told, and only
//! then processes are touched.

use std::os::fd::AsFd;

use grace_model::command::Outcome;
use grace_model::event::{Subject, What};
use grace_model::id::{InstanceId, OpId};
use grace_model::ipc::Answer;
use grace_os::{Signal, clock, pidfd};
use grace_plan::restart::{self, Action, Event};

use crate::core::{Core, FINISHED, Shutdown};
use crate::snapshot::{self, Snapshot};

impl Core {
    pub(crate) fn carry_out(&mut self, actions: Vec<(InstanceId, Subject, Action)>) {
        for (_, _, action) in &actions {
            if let Action::Finish { op, outcome } = action {
                self.keep_outcome(op, outcome);
            }
        }
        self.save();
        for (_, subject, action) in &actions {
            self.tell(subject, action);
        }
        self.publish();
        for (id, _, action) in actions {
            match action {
                Action::Spawn { generation } => self.spawn_instance(&id, generation),
                Action::Signal(signal) => self.signal_instance(&id, signal),
                Action::Finish { op, outcome } => self.reply(&op, &outcome),
                Action::Changed { .. } | Action::Planned { .. } | Action::Exhausted { .. } => {}
            }
        }
    }

    pub(crate) fn keep_outcome(&mut self, op: &OpId, outcome: &Outcome) {
        self.finished.push_back((op.clone(), outcome.clone()));
        while self.finished.len() > FINISHED {
            self.finished.pop_front();
        }
    }

    /// Writes the snapshot. A full disk is survived: what runs is found by its environment.
    pub(crate) fn save(&mut self) {
        let path = snapshot::path(&self.layout.run());
        if let Err(error) = snapshot::save(&path, &self.snapshot(false)) {
            tracing::error!(%error, "{} cannot be written", path.display());
        }
    }

    pub(crate) fn snapshot(&self, clean: bool) -> Snapshot {
        let parts = self.parts.iter().chain([&self.keeper]);
        Snapshot {
            boot_id: self.self_id.boot_id.clone(),
            clean,
            ending: self.shutdown != Shutdown::No,
            configured: self
                .config
                .services
                .iter()
                .map(|service| (service.name.clone(), service.instances))
                .collect(),
            squads: self.squads.clone(),
            slots: self.slots.values().map(crate::slot::Slot::record).collect(),
            wide: self.wide.clone(),
            finished: self.finished.iter().cloned().collect(),
            restarts: parts
                .map(|part| (part.name.to_owned(), part.restarts))
                .chain([("supervisor".to_owned(), self.supervisor_restarts)])
                .collect(),
            table_version: self.table.version,
        }
    }

    fn tell(&mut self, subject: &Subject, action: &Action) {
        let subject = subject.clone();
        match action {
            Action::Changed { from, to, reason } => {
                tracing::info!(instance = %subject.instance, from = from.word(), to = to.word(), reason);
                let reason = reason.clone();
                // The machine may have begun a new process in the same step.
                let generation = self
                    .slots
                    .get(&subject.instance)
                    .map_or(subject.generation, |slot| slot.machine.generation());
                let subject = Subject {
                    generation,
                    ..subject
                };
                self.record(What::StateChanged {
                    subject,
                    from: *from,
                    to: *to,
                    reason,
                });
            }
            Action::Planned { by, delay_ms } => {
                self.record(What::RestartPlanned {
                    subject,
                    by: *by,
                    delay_ms: *delay_ms,
                });
            }
            Action::Exhausted {
                restarts,
                window_ms,
            } => {
                tracing::error!(instance = %subject.instance, restarts, "the restart budget is used up");
                self.record(What::BudgetExhausted {
                    subject,
                    restarts: *restarts,
                    window_ms: *window_ms,
                });
            }
            Action::Finish { op, outcome } => {
                self.record(What::OperationDone {
                    op: op.clone(),
                    outcome: outcome.clone(),
                });
            }
            Action::Spawn { .. } | Action::Signal(_) => {}
        }
    }

    /// Tells everyone who waits for an operation.
    pub(crate) fn reply(&mut self, op: &OpId, outcome: &Outcome) {
        for client in self.waiting.remove(op).unwrap_or_default() {
            let answer = Answer::Reply {
                op: op.clone(),
                outcome: outcome.clone(),
            };
            self.clients.send(client, &answer);
        }
    }

    /// Finishes an operation that no machine holds.
    pub(crate) fn finish(&mut self, op: &OpId, outcome: Outcome) {
        self.keep_outcome(op, &outcome);
        self.save();
        self.record(What::OperationDone {
            op: op.clone(),
            outcome: outcome.clone(),
        });
        self.reply(op, &outcome);
    }

    fn signal_instance(&mut self, id: &InstanceId, signal: restart::Signal) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(running) = &mut slot.running else {
            return;
        };
        let signal = match signal {
            restart::Signal::Term => Signal::Terminate,
            restart::Signal::Kill => Signal::Kill,
            restart::Signal::Stop => Signal::Stop,
            restart::Signal::Continue => Signal::Continue,
        };
        match pidfd::send_signal(running.handle.as_fd(), signal) {
            Ok(()) => {}
            // Its death is on its way here.
            Err(error) if error.is_absent() => {}
            Err(error) => tracing::error!(%error, instance = %id, ?signal, "not sent"),
        }
    }

    /// Ends drains that no proxy will ever confirm. After the table was told.
    pub(crate) fn look_after_drains(&mut self, now: u64) {
        let proxied = self.clients.subscribers() > 0;
        let proxy_lives = self
            .parts
            .iter()
            .any(|part| part.name == "proxy" && part.pid() != 0);
        self.look_after_leaves(proxied, proxy_lives);
        for slot in self.slots.values_mut() {
            if !slot.machine.awaits_drained() {
                slot.drained_at = None;
                continue;
            }
            if !slot.is_proxied() {
                let generation = slot.machine.generation();
                self.events
                    .push_back((slot.id.clone(), Event::Drained { generation }));
            } else if proxied {
                slot.drained_at = None;
            } else if slot.drained_at.is_none() && (slot.machine.fenced() || !proxy_lives) {
                // A proxy that comes within this time is told by the table; its dead
                // predecessor holds no connection.
                slot.drained_at = Some(now.saturating_add(50));
            }
        }
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shutdown != Shutdown::No
            && self
                .slots
                .values()
                .all(|slot| slot.running.is_none() && !slot.machine.is_spawning())
    }

    pub(crate) fn now() -> u64 {
        clock::boot_ms()
    }
}
