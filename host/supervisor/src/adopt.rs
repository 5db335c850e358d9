//! What a new supervisor does before anything else: takes what runs as its own. It restarts
//! nothing that is well, and ends only what nobody can be found for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use grace_model::command::Outcome;
use grace_model::config::Service;
use grace_model::event::{ProcessState, What};
use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::ProcessId;
use grace_os::leftovers::MARKER;
use grace_os::notify::NotifySocket;
use grace_os::{pidfd, process, tree};
use grace_plan::restart::{Action, Event, Found, Machine, Policy};

use crate::confine::{InGroup, group_name};
use crate::core::{Core, Message};
use crate::deaths::Dead;
use crate::fleets::{self, Squad};
use crate::launch;
use crate::slot::{Running, Slot};
use crate::snapshot::{RunRecord, SlotRecord, Snapshot};
use crate::watch;

/// A process that carries our mark and leads a session: the main process of an instance.
#[derive(Debug, Clone)]
struct Marked {
    id: InstanceId,
    generation: u64,
    process: ProcessId,
}

impl Core {
    /// Adopts; gives the number of instances that were found running. `first`: of a host that
    /// was just started, so that what an earlier one was about to do is over.
    pub(crate) fn adopt(
        &mut self,
        kept: Option<Snapshot>,
        mut held: BTreeMap<String, OwnedFd>,
        first: bool,
    ) -> u32 {
        let marked = self.marked();
        let kept = kept.unwrap_or_default();
        let same_boot = kept.boot_id == self.self_id.boot_id;
        if same_boot && kept.clean && !first {
            // All had ended, and the keeper was not told any more.
            self.end_strays(&marked);
            self.end_instances(Vec::new());
            return 0;
        }
        let alive = same_boot && !kept.clean;
        self.take_numbers(&kept, alive);
        for record in kept.slots {
            self.take_slot(record, alive, &mut held);
        }
        let services: Vec<ServiceName> = self.squads.keys().cloned().collect();
        let mut actions = Vec::new();
        let adopted = self.take_processes(&marked, &held, &mut actions);
        self.end_strays(&marked);
        self.sweep_groups();
        self.carry_out(actions);
        if alive && kept.ending && !first {
            self.end_instances(Vec::new());
        } else {
            for service in services {
                self.muster(&service);
            }
        }
        self.take_operations(alive, kept.finished);
        adopted
    }

    /// Processes with the mark of this state directory.
    fn marked(&self) -> Vec<Marked> {
        let all = tree::snapshot();
        let main = all.iter().filter(|stat| !stat.is_gone());
        let found = main.filter_map(|stat| {
            let mark = process::environ_value(stat.pid, MARKER)?;
            let mut words = mark.split(':');
            let host = words.next()?;
            let id = InstanceId::from(words.next()?);
            let generation = words.next()?.parse().ok()?;
            let process = ProcessId {
                pid: stat.pid,
                start_time: stat.start_time,
                boot_id: self.self_id.boot_id.clone(),
            };
            let leads = stat.session == stat.pid;
            (host == self.host && leads).then_some((
                Marked {
                    id,
                    generation,
                    process,
                },
                stat.ppid,
            ))
        });
        let found: Vec<(Marked, u32)> = found.collect();
        // A descendant that called setsid leads a session too; main is the one whose parent
        // does not carry the same mark.
        let is_marked = |pid: u32, of: &Marked| {
            process::environ_value(pid, MARKER)
                .is_some_and(|mark| mark == crate::slot::marker(&self.host, &of.id, of.generation))
        };
        found
            .into_iter()
            .filter(|(marked, parent)| !is_marked(*parent, marked))
            .map(|(marked, _)| marked)
            .collect()
    }

    fn take_numbers(&mut self, kept: &Snapshot, alive: bool) {
        for service in &self.config.services {
            let unchanged = kept.configured.get(&service.name) == Some(&service.instances);
            let squad = kept
                .squads
                .get(&service.name)
                .filter(|_| alive && unchanged);
            let squad = squad.filter(|squad| squad.fleet.has_roles() == service.roles.is_some());
            let squad = squad.cloned().map(|mut squad| {
                squad.fleet.set_policy(fleets::policy(service));
                squad
            });
            let squad = squad.unwrap_or_else(|| Squad::new(service, fleets::plan(service)));
            self.squads.insert(service.name.clone(), squad);
        }
        self.table.version = kept.table_version;
        if alive {
            self.wide.clone_from(&kept.wide);
            self.finished = kept.finished.iter().cloned().collect();
            for part in &mut self.parts {
                part.restarts = kept.restarts.get(part.name).copied().unwrap_or(0);
            }
            let supervisor = kept.restarts.get("supervisor").copied().unwrap_or(0);
            self.supervisor_restarts = supervisor.saturating_add(1);
            self.keeper.restarts = kept.restarts.get(self.keeper.name).copied().unwrap_or(1);
        }
    }

    /// What an instance runs: its version of its service, else what the configuration says.
    fn service(&self, id: &InstanceId, name: &ServiceName) -> Option<Arc<Service>> {
        let of_version = || {
            let (_, number) = id.split()?;
            self.squads.get(name)?.definition(number).cloned()
        };
        of_version().or_else(|| {
            let mut services = self.config.services.iter();
            let found = services.find(|service| service.name == *name);
            found.cloned().map(Arc::new)
        })
    }

    fn take_slot(&mut self, record: SlotRecord, alive: bool, held: &mut BTreeMap<String, OwnedFd>) {
        let Some(service) = self.service(&record.id, &record.service) else {
            return;
        };
        let id = record.id.clone();
        let mut slot = Slot::new(id.clone(), service.clone());
        slot.port = record.port;
        if !alive {
            // Numbers of processes go on, so that no event of before is about a new one.
            slot.machine.start_above(record.machine.generation());
            self.slots.insert(id, slot);
            return;
        }
        slot.machine = record.machine;
        slot.machine.set_policy(Policy::of(&service));
        slot.started = record.started;
        slot.socket = held.remove(&format!("socket:{id}"));
        if let Err(error) = launch::open_output(&mut slot, &self.layout, None) {
            tracing::error!(instance = %id, error, "its output is not read");
        }
        // Whoever started this host may have closed the state directory to its other users.
        let data = self.layout.data(&id);
        let open = launch::whom(&service).and_then(|user| launch::make_data(&data, user.as_ref()));
        if let Err(error) = open {
            tracing::error!(instance = %id, error, "its data directory may be closed to it");
        }
        if let (Some(address), Some(fd)) = (record.notify, held.remove(&format!("notify:{id}"))) {
            let socket = NotifySocket::from_fd(fd, address);
            if let Err(error) = launch::take_notify(&mut slot, socket, &self.messages) {
                tracing::error!(instance = %id, error, "its notifications are not heard");
            }
        }
        slot.recorded = record.process;
        self.slots.insert(id, slot);
    }

    /// Finds the process of each instance, and has its machine compare.
    fn take_processes(
        &mut self,
        marked: &[Marked],
        held: &BTreeMap<String, OwnedFd>,
        actions: &mut Vec<(InstanceId, grace_model::event::Subject, Action)>,
    ) -> u32 {
        self.take_unrecorded(marked);
        let now = Core::now();
        let ids: Vec<InstanceId> = self.slots.keys().cloned().collect();
        let mut dead = Vec::new();
        let mut adopted = 0;
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            let generation = slot.machine.generation();
            let recorded = slot
                .recorded
                .take()
                .filter(|record| record.generation == generation);
            let by_mark = || {
                let found = marked
                    .iter()
                    .find(|m| m.id == id && m.generation == generation);
                found.map(|m| RunRecord {
                    process: m.process.clone(),
                    generation,
                    started_at: now,
                })
            };
            let record = recorded.or_else(by_mark);
            let handle = record
                .as_ref()
                .and_then(|record| pidfd::open_same(&record.process).ok().flatten());
            let state = record
                .as_ref()
                .map(|record| process::state(&record.process));
            let found = match (record, handle, state) {
                (Some(record), Some(handle), Some(state)) if state != ProcessState::Gone => {
                    adopted += 1;
                    self.attach(&id, record, handle, state, now)
                }
                (Some(record), _, _) if self.slots.get(&id).is_some_and(|s| s.machine.is_up()) => {
                    dead.push((id.clone(), record));
                    continue;
                }
                _ => Found::Nothing,
            };
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            let out = slot.machine.recover(&found, now);
            let subject = slot.subject();
            actions.extend(
                out.into_iter()
                    .map(|action| (id.clone(), subject.clone(), action)),
            );
        }
        for (id, record) in dead {
            self.explain_old_death(&id, record, held, now);
        }
        adopted
    }

    /// Without a snapshot, or beside one that could not be written any more, the marks are all
    /// there is.
    fn take_unrecorded(&mut self, marked: &[Marked]) {
        for found in marked {
            let Some((name, number)) = found.id.split() else {
                continue;
            };
            let wanted = self
                .squads
                .get(&name)
                .is_some_and(|squad| squad.fleet.wants(number));
            let Some(service) = self.service(&found.id, &name).filter(|_| wanted) else {
                continue;
            };
            let slot = self
                .slots
                .entry(found.id.clone())
                .or_insert_with(|| Slot::new(found.id.clone(), service.clone()));
            let has = slot.machine.is_up() || slot.machine.is_spawning();
            let known = slot.machine.generation();
            if found.generation < known || (has && found.generation == known) {
                continue;
            }
            // What was kept of it is of an older process than the one that runs.
            slot.machine = Machine::new(Policy::of(&service));
            slot.recorded = None;
            slot.machine.start_above(found.generation.saturating_sub(1));
            // Its answer, to start a process, is given by the one that was found.
            slot.machine.step(Event::Start, Core::now());
            let port = process::environ_value(found.process.pid, "PORT");
            slot.port = port.and_then(|port| port.parse().ok()).unwrap_or(slot.port);
            slot.started = slot.started.max(1);
            let id = &found.id;
            tracing::warn!(instance = %id, pid = found.process.pid, "found by its mark");
            if slot.output.is_none()
                && let Err(error) = launch::open_output(slot, &self.layout, None)
            {
                tracing::error!(instance = %id, error, "its output is not read");
            }
        }
    }

    fn attach(
        &mut self,
        id: &InstanceId,
        record: RunRecord,
        handle: OwnedFd,
        state: ProcessState,
        now: u64,
    ) -> Found {
        let stopped = state == ProcessState::Stopped;
        let generation = record.generation;
        let death = Message::Death {
            instance: id.clone(),
            generation,
        };
        let watch = match watch::death(&handle, &self.messages, death) {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!(%error, instance = %id, "cannot be watched");
                return Found::Nothing;
            }
        };
        self.link.store(&format!("pidfd:{id}"), &handle);
        if let Some(slot) = self.slots.get_mut(id) {
            let watched = slot.service.heartbeat_ms.is_some();
            let group = self.confines.home.group(&group_name(id, generation));
            slot.running = Some(Running {
                process: record.process,
                handle,
                watch,
                generation,
                own: false,
                started_at: record.started_at,
                stopped_since: stopped.then_some(now),
                stopped_told: now,
                // Nobody listened for a while: the clock of heartbeats begins anew.
                beat_at: watched.then_some(now),
                late_told: None,
                cause_by: None,
                group: (!group.places().is_empty()).then(|| InGroup::new(group)),
            });
        }
        self.hold(id);
        Found::Running { stopped }
    }

    fn explain_old_death(
        &mut self,
        id: &InstanceId,
        record: RunRecord,
        held: &BTreeMap<String, OwnedFd>,
        now: u64,
    ) {
        let handle = held.get(&format!("pidfd:{id}"));
        let cause = self
            .link
            .exit_of(record.process.pid, record.started_at)
            .unwrap_or_else(|| process::exit_cause(&record.process, handle));
        let cause = self.old_cause(id, record.generation, cause);
        let dead = Dead {
            process: record.process,
            generation: record.generation,
            started_at: record.started_at,
        };
        self.bury(id, &dead, &cause, now);
    }

    /// Ends processes with our mark that belong to no instance any more.
    fn end_strays(&mut self, marked: &[Marked]) {
        let running: Vec<u32> = self
            .slots
            .values()
            .filter_map(|slot| slot.running.as_ref())
            .map(|r| r.process.pid)
            .collect();
        for stray in marked
            .iter()
            .filter(|found| !running.contains(&found.process.pid))
        {
            tracing::warn!(instance = %stray.id, pid = stray.process.pid, "belongs to nobody and is ended");
            self.end_family(&stray.id, stray.generation, &stray.process);
        }
    }

    /// Goes on with operations that a dead supervisor had begun.
    fn take_operations(&mut self, alive: bool, finished: Vec<(grace_model::id::OpId, Outcome)>) {
        let finished: BTreeMap<_, _> = finished.into_iter().collect();
        for (op, command) in self.operations.unfinished() {
            if !alive {
                let reason = "the host was stopped before it was done".to_owned();
                let outcome = Outcome::TimedOut { reason };
                self.record(What::OperationDone { op, outcome });
            } else if let Some(outcome) = finished.get(&op) {
                self.record(What::OperationDone {
                    op,
                    outcome: outcome.clone(),
                });
            } else {
                let in_hand = self.wide.iter().any(|wide| *wide.op() == op)
                    || self
                        .slots
                        .values()
                        .any(|slot| slot.machine.has_operation(&op))
                    || self
                        .squads
                        .values()
                        .any(|squad| squad.fleet.has_operation(&op));
                if !in_hand {
                    self.begin(op, command);
                }
            }
        }
        self.take_process_restarts();
    }
}
