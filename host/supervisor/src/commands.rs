//! What clients ask, and operations: each is journalled before its first effect, and the same
//! id again has none.

use grace_journal::Remembered;
use grace_model::command::{Command, Outcome, StopMode};
use grace_model::config::Roles;
use grace_model::event::What;
use grace_model::id::{InstanceId, OpId, ServiceName};
use grace_model::instance::State;
use grace_model::ipc::{Answer, Request};
use grace_plan::fleet::{self, Ask as FleetAsk, Plan, Sample};
use grace_plan::restart::{Ask, Event};

use crate::clients::Heard;
use crate::core::{Core, Shutdown};
use crate::fleets::Told;
use crate::snapshot::WideRecord;

/// Instances of one service.
const INSTANCES_MAX: u32 = 256;

impl Core {
    pub(crate) fn client(&mut self, id: u64, heard: Heard) {
        match heard {
            Heard::Opened { answers, cut, pid } => self.clients.open(id, answers, cut, pid),
            Heard::Asked(request) => self.request(id, request),
            Heard::Nonsense(reason) => {
                let message = format!("not understood: {reason}");
                self.clients.send(id, &Answer::Error { message });
            }
            Heard::Closed => {
                self.clients.close(id);
                self.let_go();
            }
        }
    }

    fn request(&mut self, id: u64, request: Request) {
        match request {
            Request::Subscribe => {
                self.clients.subscribe(id);
                let table = Answer::Table(self.table.clone());
                self.clients.send(id, &table);
                self.subscribed(self.clients.pid(id));
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
                if !self.is_leaving(id) {
                    self.probed(&instance, generation, ok, reason);
                }
            }
            Request::Drained {
                instance,
                generation,
                leave,
            } => {
                self.clients.idle(id, (instance, generation, leave));
                self.let_go();
            }
            // What little a proxy still has that leaves says nothing about the instance.
            Request::Traffic { .. } if self.is_leaving(id) => {}
            Request::Traffic {
                instance,
                generation,
                requests,
                errors,
                p99_us,
                inflight,
            } => self.note_fleet(&instance, |number| fleet::Event::Traffic {
                number,
                generation,
                sample: Sample {
                    requests,
                    errors,
                    p99_us,
                    inflight,
                },
            }),
            Request::Shutdown => self.begin_shutdown(id),
        }
    }

    /// Whether a connection is of a proxy that has a successor.
    fn is_leaving(&self, id: u64) -> bool {
        let pid = self.clients.pid(id);
        self.parts.iter().any(|part| {
            let mut leaving = part.beside.leaving.iter();
            leaving.any(|it| Some(it.process.id.pid) == pid)
        })
    }

    /// Tells of processes on which no proxy has a request any more. While one leaves and another
    /// has come there are two, and both must say so.
    fn let_go(&mut self) {
        for (instance, generation, leave) in self.clients.idle_for_all() {
            self.note_fleet(&instance, |number| fleet::Event::Drained {
                number,
                generation,
                leave,
            });
            self.events
                .push_back((instance, Event::Drained { generation }));
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
            Command::Promote { instance, .. } => match instance.split() {
                Some((service, number)) => self.ask_fleet(op, &service, FleetAsk::Promote(number)),
                None => self.refuse(&op, true, &format!("there is no instance {instance}")),
            },
            Command::Weights {
                service, shares, ..
            } => self.set_weights(op, &service, &shares),
            Command::Resize { service, roles, .. } => self.resize(op, &service, roles),
            Command::Rollout {
                definition,
                strategy,
                ..
            } => self.roll_out(op, *definition, strategy),
            Command::Rollback { service, .. } => self.ask_fleet(op, &service, FleetAsk::Rollback),
            Command::RestartProcess { process } => self.restart_process(op, process, false),
            Command::RenewProcess { process } => self.restart_process(op, process, true),
        }
    }

    fn ask(&mut self, op: OpId, instance: InstanceId, ask: Ask) {
        if self.slots.contains_key(&instance) {
            self.events.push_back((instance, Event::Ask { op, ask }));
        } else {
            self.refuse(&op, true, &format!("there is no instance {instance}"));
        }
    }

    pub(crate) fn refuse(&mut self, op: &OpId, unknown_target: bool, reason: &str) {
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
        let Some(squad) = self.squads.get(name) else {
            self.refuse(&op, true, &format!("there is no service {name}"));
            return;
        };
        if squad.fleet.has_roles() {
            let reason = format!(
                "service {name} has roles; say how many of each: `grace fleet scale {name} \
                 --active N --hot N --warm N`"
            );
            self.refuse(&op, false, &reason);
            return;
        }
        let before = squad.fleet.plan().active;
        let numbers =
            |squad: &crate::fleets::Squad| -> Vec<u32> { squad.fleet.numbers().collect() };
        let old = numbers(squad);
        let now = Core::now();
        let mut told = Told::default();
        let ask = FleetAsk::Resize(Plan::all_active(instances));
        let event = fleet::Event::Ask {
            op: op.clone(),
            ask,
        };
        self.tell_fleet(name, event, now, &mut told);
        let refused = told
            .finished
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Refused { .. }));
        if refused {
            self.carry_out_told(told);
            return;
        }
        // It is done when every instance that came or goes is there or gone.
        told.finished.clear();
        self.carry_out_told(told);
        let new = self.squads.get(name).map(numbers).unwrap_or_default();
        let waits = old
            .iter()
            .filter(|number| !new.contains(number))
            .chain(new.iter().filter(|number| !old.contains(number)))
            .map(|number| InstanceId::of(name, *number))
            .collect();
        self.wide.push(WideRecord::Scale { op, before, waits });
        self.save();
    }

    fn resize(&mut self, op: OpId, name: &ServiceName, roles: Roles) {
        let plan = Plan {
            active: roles.active,
            hot: roles.hot,
            warm: roles.warm,
        };
        if plan.total() > INSTANCES_MAX {
            let reason = format!(
                "{} instances are too many: at most {INSTANCES_MAX}",
                plan.total()
            );
            self.refuse(&op, false, &reason);
            return;
        }
        self.ask_fleet(op, name, FleetAsk::Resize(plan));
    }

    fn set_weights(&mut self, op: OpId, name: &ServiceName, shares: &[(InstanceId, u32)]) {
        let mut numbers = Vec::with_capacity(shares.len());
        for (id, share) in shares {
            match id.split().filter(|(service, _)| service == name) {
                Some((_, number)) => numbers.push((number, *share)),
                None => {
                    let reason = format!("service {name} has no instance {id}");
                    self.refuse(&op, true, &reason);
                    return;
                }
            }
        }
        self.ask_fleet(op, name, FleetAsk::Weights(numbers));
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
            .filter(|slot| !self.is_wanted(&slot.id))
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
                    self.is_wanted(id) && !slot.machine.is_spawning() && !slot.machine.is_ending()
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
