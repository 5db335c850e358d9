//! What clients ask, and operations: each is journalled before its first effect, and the same
//! id again has none.

use std::sync::Arc;

use grace_journal::Remembered;
use grace_model::command::{Command, Outcome, StopMode};
use grace_model::event::What;
use grace_model::id::{InstanceId, OpId, ServiceName};
use grace_model::instance::State;
use grace_model::ipc::{Answer, Request};
use grace_plan::restart::{Ask, Event};

use crate::clients::Heard;
use crate::core::{Core, Shutdown};
use crate::slot::Slot;
use crate::snapshot::WideRecord;

/// Instances of one service.
const INSTANCES_MAX: u32 = 256;

impl Core {
    pub(crate) fn client(&mut self, id: u64, heard: Heard) {
        match heard {
            Heard::Opened { answers, cut } => self.clients.open(id, answers, cut),
            Heard::Asked(request) => self.request(id, request),
            Heard::Nonsense(reason) => {
                let message = format!("not understood: {reason}");
                self.clients.send(id, &Answer::Error { message });
            }
            Heard::Closed => self.clients.close(id),
        }
    }

    fn request(&mut self, id: u64, request: Request) {
        match request {
            Request::Subscribe => {
                self.clients.subscribe(id);
                let table = Answer::Table(self.table.clone());
                self.clients.send(id, &table);
            }
            Request::Command { op, command } => self.command(id, op, command),
            Request::Status => {
                let status = Answer::Status(self.status());
                self.clients.send(id, &status);
            }
            Request::Output { instance } => {
                let output = self.slots.get(&instance).map(|slot| slot.output.as_ref());
                let answer = match output {
                    None => Answer::Error {
                        message: format!("there is no instance {instance}"),
                    },
                    Some(output) => {
                        let newest = output.map(crate::log::Output::newest).unwrap_or_default();
                        Answer::Output {
                            text: newest.text,
                            dropped: newest.dropped,
                            unsaved: newest.unsaved,
                        }
                    }
                };
                self.clients.send(id, &answer);
            }
            Request::Health {
                instance,
                generation,
                ok,
                reason,
            } => {
                self.probed(&instance, generation, ok, reason);
            }
            Request::Drained {
                instance,
                generation,
            } => {
                self.events
                    .push_back((instance, Event::Drained { generation }));
            }
            Request::Shutdown => self.begin_shutdown(id),
        }
    }

    fn command(&mut self, client: u64, op: OpId, command: Command) {
        match self.operations.get(&op) {
            Some(Remembered::Done(outcome)) => {
                let answer = Answer::Reply {
                    op,
                    outcome: outcome.clone(),
                };
                self.clients.send(client, &answer);
                return;
            }
            Some(Remembered::Begun(_)) => {
                self.waiting.entry(op).or_default().push(client);
                return;
            }
            None => {}
        }
        self.waiting.entry(op.clone()).or_default().push(client);
        tracing::info!(%op, ?command, "operation");
        self.record(What::OperationBegun {
            op: op.clone(),
            command: command.clone(),
        });
        self.begin(op, command);
    }

    /// Takes up an operation; also one that a dead supervisor had only noted.
    pub(crate) fn begin(&mut self, op: OpId, command: Command) {
        if self.shutdown != Shutdown::No {
            self.refuse(&op, false, "the host is being shut down");
            return;
        }
        match command {
            Command::Restart { instance, mode, .. } => self.ask(op, instance, Ask::Restart(mode)),
            Command::Pause { instance, .. } => self.ask(op, instance, Ask::Pause),
            Command::Resume { instance, .. } => self.ask(op, instance, Ask::Resume),
            Command::Drain { instance, .. } => self.ask(op, instance, Ask::Drain),
            Command::Quarantine { instance, .. } => self.ask(op, instance, Ask::Quarantine),
            Command::Release { instance, .. } => self.ask(op, instance, Ask::Release),
            Command::Scale {
                service, instances, ..
            } => self.scale(op, &service, instances),
            Command::RestartProcess { process } => self.restart_process(op, process),
        }
    }

    fn ask(&mut self, op: OpId, instance: InstanceId, ask: Ask) {
        if self.slots.contains_key(&instance) {
            self.events.push_back((instance, Event::Ask { op, ask }));
        } else {
            self.refuse(&op, true, &format!("there is no instance {instance}"));
        }
    }

    fn refuse(&mut self, op: &OpId, unknown_target: bool, reason: &str) {
        let reason = reason.to_owned();
        self.finish(
            op,
            Outcome::Refused {
                unknown_target,
                reason,
            },
        );
    }

    fn scale(&mut self, op: OpId, name: &ServiceName, instances: u32) {
        if instances > INSTANCES_MAX {
            let reason = format!("{instances} instances are too many: at most {INSTANCES_MAX}");
            self.refuse(&op, false, &reason);
            return;
        }
        let Some(before) = self.desired.get(name).copied() else {
            self.refuse(&op, true, &format!("there is no service {name}"));
            return;
        };
        self.desired.insert(name.clone(), instances);
        let waits = self.reach_desired(name);
        self.wide.push(WideRecord::Scale { op, before, waits });
        self.save();
    }

    /// Makes and retires instances; gives those that it changed.
    pub(crate) fn reach_desired(&mut self, name: &ServiceName) -> Vec<InstanceId> {
        let found = self
            .config
            .services
            .iter()
            .find(|service| service.name == *name);
        let Some(service) = found.cloned().map(Arc::new) else {
            return Vec::new();
        };
        let wanted = self.desired.get(name).copied().unwrap_or(service.instances);
        let mut changed = Vec::new();
        for number in 1..=wanted {
            let id = InstanceId::of(name, number);
            let slot = self
                .slots
                .entry(id.clone())
                .or_insert_with(|| Slot::new(id.clone(), service.clone()));
            if slot.machine.state() == State::Stopped || slot.machine.is_ending() {
                self.events.push_back((id.clone(), Event::Start));
                changed.push(id);
            }
        }
        let surplus: Vec<InstanceId> = self
            .slots
            .values()
            .filter(|slot| slot.service.name == *name)
            .filter(|slot| slot.id.split().is_none_or(|(_, number)| number > wanted))
            .map(|slot| slot.id.clone())
            .collect();
        for id in surplus {
            self.events
                .push_back((id.clone(), Event::Retire(StopMode::Graceful)));
            changed.push(id);
        }
        changed
    }

    /// Ends operations on services, and forgets instances that are retired and gone.
    pub(crate) fn settle_wide(&mut self) -> bool {
        if !self.events.is_empty() {
            return false;
        }
        let gone: Vec<InstanceId> = self
            .slots
            .values()
            .filter(|slot| slot.machine.state() == State::Stopped && slot.running.is_none())
            .filter(|slot| !self.is_wanted(slot))
            .map(|slot| slot.id.clone())
            .collect();
        for id in &gone {
            self.slots.remove(id);
            for kind in ["fifo", "notify", "pidfd", "socket"] {
                self.link.drop_held(&format!("{kind}:{id}"));
            }
        }
        let mut done = Vec::new();
        for wide in &self.wide {
            let WideRecord::Scale { op, before, waits } = wide else {
                continue;
            };
            // A surplus instance is done when it is gone, a new one when its start was tried.
            let is_done = |id: &InstanceId| {
                self.slots.get(id).is_none_or(|slot| {
                    self.is_wanted(slot) && !slot.machine.is_spawning() && !slot.machine.is_ending()
                })
            };
            if waits.iter().all(is_done) {
                done.push((op.clone(), *before));
            }
        }
        self.wide
            .retain(|wide| !done.iter().any(|(op, _)| op == wide.op()));
        for (op, before) in &done {
            self.finish(
                op,
                Outcome::Done {
                    number: u64::from(*before),
                },
            );
        }
        let processes = self.settle_processes();
        !gone.is_empty() || !done.is_empty() || processes
    }

    fn is_wanted(&self, slot: &Slot) -> bool {
        let wanted = self.desired.get(&slot.service.name).copied().unwrap_or(0);
        slot.id.split().is_some_and(|(_, number)| number <= wanted)
    }

    fn restart_process(&mut self, op: OpId, process: String) {
        let Some(part) = self.parts.iter_mut().find(|part| part.name == process) else {
            let reason = format!("there is no process {process:?}: name proxy or healer");
            self.refuse(&op, true, &reason);
            return;
        };
        let old = part.process.as_ref().map(|process| process.id.clone());
        self.wide.push(WideRecord::Process {
            op,
            process: process.clone(),
            old,
        });
        self.save();
        if let Some(part) = self.parts.iter().find(|part| part.name == process) {
            part.kill();
        }
    }

    fn begin_shutdown(&mut self, client: u64) {
        if let Shutdown::Instances(waiting) = &mut self.shutdown {
            waiting.push(client);
            return;
        }
        self.end_instances(vec![client]);
        self.save();
    }

    /// Begins a shutdown, or goes on with one that a dead supervisor had begun.
    pub(crate) fn end_instances(&mut self, waiting: Vec<u64>) {
        tracing::info!("shutting down");
        self.shutdown = Shutdown::Instances(waiting);
        for id in self.slots.keys() {
            self.events
                .push_back((id.clone(), Event::Retire(StopMode::Graceful)));
        }
    }
}
