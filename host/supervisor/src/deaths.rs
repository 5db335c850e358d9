//! Ends of instances: noticed, explained, cleaned up after, told.

use std::collections::HashSet;
use std::time::Duration;

use grace_model::event::{ProcessState, Subject, What};
use grace_model::id::InstanceId;
use grace_model::instance::{ExitCause, ProcessId};
use grace_model::ipc::Answer;
use grace_os::leftovers::{Leftovers, end_leftovers};
use grace_os::wait::WaitStatus;
use grace_os::{process, wait};
use grace_plan::restart::Event;

use crate::confine::group_name;
use crate::core::Core;
use crate::slot::marker;

/// How long the cause of a death is waited for when nobody can tell it yet: the keeper's word
/// comes over a socket.
const CAUSE_MS: u64 = 100;

/// How long the end of descendants is waited for. Only one that hangs in the kernel takes
/// longer than a moment, and the loop stands still meanwhile.
pub(crate) const LEFTOVERS: Duration = Duration::from_millis(500);

/// A kill by the out-of-memory killer is counted in `/proc/vmstat` before the death is seen;
/// the last look may have counted it already.
pub(crate) const OOM_MS: u64 = 1_000;

/// A process that was an instance's.
#[derive(Debug)]
pub(crate) struct Dead {
    pub process: ProcessId,
    pub generation: u64,
    pub started_at: u64,
}

impl Core {
    /// Takes the ends, stops and continuations of own children from the kernel.
    pub(crate) fn reap(&mut self) {
        let changes = match wait::wait_changes_nonblocking() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "children cannot be waited for");
                return;
            }
        };
        let now = Core::now();
        for (pid, status) in changes {
            match status {
                WaitStatus::Exited(_) | WaitStatus::Signaled { .. } => {
                    if self.is_known(pid) {
                        self.ends.insert(pid, status.cause());
                    }
                }
                WaitStatus::Stopped(_) => self.kernel_says(pid, ProcessState::Stopped, now),
                WaitStatus::Continued => self.kernel_says(pid, ProcessState::Running, now),
            }
        }
    }

    fn is_known(&self, pid: u32) -> bool {
        self.slots
            .values()
            .any(|slot| slot.running.as_ref().is_some_and(|r| r.process.pid == pid))
            || self
                .parts
                .iter()
                .chain([&self.keeper])
                .any(|part| part.pid() == pid)
    }

    fn kernel_says(&mut self, pid: u32, state: ProcessState, now: u64) {
        let found = self.slots.values().find(|slot| {
            slot.running
                .as_ref()
                .is_some_and(|running| running.process.pid == pid)
        });
        if let Some(id) = found.map(|slot| slot.id.clone()) {
            self.process_state(&id, state, now);
        }
    }

    /// The kernel told the state of an instance's process.
    pub(crate) fn process_state(&mut self, id: &InstanceId, state: ProcessState, now: u64) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let subject = slot.subject();
        let paused = slot.machine.is_paused();
        let interval = slot.service.probe_interval_ms;
        let Some(running) = &mut slot.running else {
            return;
        };
        let tell = match (state, running.stopped_since) {
            (ProcessState::Stopped, None) => {
                running.stopped_since = Some(now);
                running.stopped_told = now;
                self.events.push_back((id.clone(), Event::Stopped(true)));
                (!paused).then_some(0)
            }
            (ProcessState::Stopped, Some(since)) => {
                let due = now.saturating_sub(running.stopped_told) >= interval;
                if due {
                    running.stopped_told = now;
                }
                (due && !paused).then(|| now.saturating_sub(since))
            }
            (ProcessState::Running, Some(since)) => {
                running.stopped_since = None;
                // A process cannot beat while it is stopped.
                running.beat_at = running.beat_at.map(|_| now);
                self.events.push_back((id.clone(), Event::Stopped(false)));
                Some(now.saturating_sub(since))
            }
            (ProcessState::Running | ProcessState::Gone, _) => None,
        };
        if let Some(for_ms) = tell {
            self.record(What::ProcessState {
                subject,
                state,
                for_ms,
            });
        }
    }

    /// The process's handle says that it is dead.
    pub(crate) fn instance_died(&mut self, id: &InstanceId, generation: u64) {
        self.reap();
        let now = Core::now();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(running) = &mut slot.running else {
            return;
        };
        if running.generation != generation {
            return;
        }
        let pid = running.process.pid;
        let told = self
            .ends
            .remove(&pid)
            .or_else(|| self.link.exit_of(pid, running.started_at));
        let cause =
            told.unwrap_or_else(|| process::exit_cause(&running.process, Some(&running.handle)));
        if cause == ExitCause::Unknown {
            let by = *running.cause_by.get_or_insert(now.saturating_add(CAUSE_MS));
            if now < by {
                return;
            }
        }
        let cause = self.look_for_oom_in(id, cause, now);
        let Some(running) = self.slots.get_mut(id).and_then(|slot| slot.running.take()) else {
            return;
        };
        let dead = Dead {
            process: running.process.clone(),
            generation,
            started_at: running.started_at,
        };
        self.bury(id, &dead, &cause, now);
    }

    /// Tells of a death, ends what the dead one left, and asks its machine what follows.
    pub(crate) fn bury(&mut self, id: &InstanceId, dead: &Dead, cause: &ExitCause, now: u64) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let subject = Subject {
            generation: dead.generation,
            ..slot.subject()
        };
        let wanted = slot.machine.is_ending();
        let pid = dead.process.pid;
        tracing::info!(instance = %id, pid, cause = cause.text(), wanted, "ended");
        let generation = dead.generation;
        let death = Answer::Death {
            instance: id.clone(),
            generation,
            cause: cause.clone(),
        };
        self.clients.publish(&death);
        self.end_family(id, generation, &dead.process);
        let group = self.confines.home.group(&group_name(id, generation));
        self.confines.bury(&group);
        let output = self.slots.get(id).and_then(|slot| slot.output.as_ref());
        let tail = output.map(crate::log::Output::tail).unwrap_or_default();
        let uptime_ms = now.saturating_sub(dead.started_at);
        self.record(What::Exited {
            subject,
            pid,
            cause: cause.clone(),
            uptime_ms,
            tail,
            wanted,
        });
        self.link.drop_held(&format!("pidfd:{id}"));
        self.events.push_back((
            id.clone(),
            Event::Exited {
                cause: cause.clone(),
            },
        ));
    }

    /// Ends everything that one process of an instance has left behind.
    pub(crate) fn end_family(&self, id: &InstanceId, generation: u64, main: &ProcessId) {
        let kept = self.grace_pids(id);
        let marker = marker(&self.host, id, generation);
        let adopters = [std::process::id(), self.keeper.pid()];
        let of = Leftovers {
            main: Some(main),
            main_leads: true,
            marker: &marker,
            adopters: &adopters,
            keep: &kept,
        };
        let done = end_leftovers(&of, LEFTOVERS);
        if !done.ended.is_empty() {
            tracing::info!(instance = %id, pids = ?done.ended, "its descendants were ended");
        }
        for stayed in &done.stayed {
            let (pid, name, reason) = (stayed.pid, &stayed.name, &stayed.reason);
            tracing::error!(instance = %id, pid, name, reason, "a descendant stays");
        }
    }

    /// What must not be taken for a leftover of `except`.
    pub(crate) fn grace_pids(&self, except: &InstanceId) -> Vec<u32> {
        let instances = self
            .slots
            .values()
            .filter(|slot| slot.id != *except)
            .filter_map(|slot| slot.running.as_ref().map(|running| running.process.pid));
        let parts = self
            .parts
            .iter()
            .chain([&self.keeper])
            .map(crate::parts::Part::pid);
        let all: HashSet<u32> = instances
            .chain(parts)
            .chain([std::process::id()])
            .filter(|pid| *pid != 0)
            .collect();
        all.into_iter().collect()
    }

    /// Looks at the machine's count of out-of-memory kills.
    pub(crate) fn look_for_oom(&mut self, now: u64) {
        let kills = oom_kills();
        if kills > self.oom_kills {
            self.oom_at = now;
        }
        self.oom_kills = kills;
    }

    /// A group tells for itself. Without one there is only the machine's count, which another's
    /// kill raises too.
    fn look_for_oom_in(&mut self, id: &InstanceId, cause: ExitCause, now: u64) -> ExitCause {
        self.look_for_oom(now);
        let own = self.oom_in_group(id, now);
        let lately = self.oom_at != 0 && now.saturating_sub(self.oom_at) <= OOM_MS;
        if cause == ExitCause::Signal(9) && own.unwrap_or(lately) {
            ExitCause::Oom
        } else {
            cause
        }
    }
}

/// Processes that the out-of-memory killer has ended since boot.
pub(crate) fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}
