//! Another process in the place of one of Grace's own, by request: killed, or renewed in good
//! order for an upgrade. The proxy's successor accepts before the old one leaves; when it does
//! not come, the old one was never touched.

use std::os::fd::OwnedFd;
use std::time::Duration;

use grace_model::command::Outcome;
use grace_model::id::OpId;
use grace_model::instance::ProcessId;
use grace_os::{Signal, pidfd};

use crate::core::Core;
use crate::parts::Process;
use crate::snapshot::WideRecord;

/// A proxy's successor that has not asked for the table by then does not come.
const SUCCESSOR_MS: u64 = 10_000;
/// What a proxy that has a successor gets to end what it has: its own half minute, and some.
const LEAVE_MS: u64 = 35_000;
/// What a healer gets to end in good order.
const END_MS: u64 = 10_000;

/// Processes of one part beside the one that counts.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Started, and not in place yet.
    pub successor: Option<Timed>,
    /// Ending what they have.
    pub leaving: Vec<Timed>,
    /// When the one that counts is killed, if it does not end by itself.
    pub end_by: Option<u64>,
}

/// One that has until then.
#[derive(Debug)]
pub(crate) struct Timed {
    pub process: Process,
    pub until: u64,
}

impl Beside {
    pub(crate) fn deadline(&self) -> Option<u64> {
        let successor = self.successor.iter().map(|it| it.until);
        let leaving = self.leaving.iter().map(|it| it.until);
        successor.chain(leaving).chain(self.end_by).min()
    }

    /// Signals all of them, for a shutdown.
    pub(crate) fn end(&self) {
        for it in self.successor.iter().chain(&self.leaving) {
            let _ = pidfd::send_signal(&it.process.handle, Signal::Terminate);
        }
    }

    /// Waits for them at most so long, then kills them.
    pub(crate) fn wait(&self, left: impl Fn() -> Duration) {
        for it in self.successor.iter().chain(&self.leaving) {
            if !pidfd::wait_dead(&it.process.handle, left()).unwrap_or(true) {
                let _ = pidfd::send_signal(&it.process.handle, Signal::Kill);
            }
        }
    }
}

impl Core {
    /// Takes up a restart of one of Grace's processes. `gently`: for an upgrade, also of the
    /// keeper and of this process itself.
    pub(crate) fn restart_process(&mut self, op: OpId, process: String, gently: bool) {
        let names: &[&str] = if gently {
            &["keeper", "supervisor", "proxy", "healer"]
        } else {
            &["proxy", "healer"]
        };
        let known = names.contains(&process.as_str())
            && (["keeper", "supervisor"].contains(&process.as_str())
                || self.parts.iter().any(|part| part.name == process));
        if !known {
            let reason = format!(
                "there is no process {process:?}: name {}",
                names.join(" or ")
            );
            self.refuse(&op, true, &reason);
            return;
        }
        let old = self.process_of(&process).cloned();
        let record = WideRecord::Process {
            op,
            process: process.clone(),
            old,
            gently,
        };
        self.wide.push(record);
        self.save();
        self.replace(&process, gently);
    }

    /// Which process has this name now.
    fn process_of(&self, name: &str) -> Option<&ProcessId> {
        if name == "supervisor" {
            return Some(&self.self_id);
        }
        let mut parts = self.parts.iter().chain([&self.keeper]);
        let part = parts.find(|part| part.name == name)?;
        part.process.as_ref().map(|process| &process.id)
    }

    fn replace(&mut self, name: &str, gently: bool) {
        let now = Core::now();
        if name == "supervisor" {
            // The keeper starts the next one, which adopts. As after a kill, but for what was
            // being said.
            self.leaving = true;
            return;
        }
        if name == self.keeper.name {
            // There can be one only; the next is started at once and given everything.
            self.keeper.kill();
            return;
        }
        let Some(index) = self.parts.iter().position(|part| part.name == name) else {
            return;
        };
        if gently && name == "proxy" {
            self.start_successor(index, now);
        } else if let Some(part) = self.parts.get_mut(index) {
            if gently && let Some(process) = &part.process {
                let _ = pidfd::send_signal(&process.handle, Signal::Terminate);
                part.beside.end_by = Some(now.saturating_add(END_MS));
            } else {
                part.kill();
            }
        }
    }

    /// Goes on with what a supervisor before had noted and may not have begun.
    pub(crate) fn take_process_restarts(&mut self) {
        let mut todo = Vec::new();
        for wide in &self.wide {
            if let WideRecord::Process {
                process,
                old,
                gently,
                ..
            } = wide
                && self.process_of(process) == old.as_ref()
                && old.is_some()
            {
                todo.push((process.clone(), *gently));
            }
        }
        for (process, gently) in todo {
            self.replace(&process, gently);
        }
    }

    /// Ends operations on Grace's processes whose new process runs.
    pub(crate) fn settle_processes(&mut self) -> bool {
        let mut done = Vec::new();
        for wide in &self.wide {
            let WideRecord::Process {
                op, process, old, ..
            } = wide
            else {
                continue;
            };
            let new = self.process_of(process);
            if new.is_some() && new != old.as_ref() {
                done.push(op.clone());
            }
        }
        self.wide.retain(|wide| !done.contains(wide.op()));
        for op in &done {
            self.finish(op, Outcome::Done { number: 0 });
        }
        !done.is_empty()
    }

    /// Starts another proxy beside the one that runs.
    fn start_successor(&mut self, index: usize, now: u64) {
        let Some(part) = self.parts.get(index) else {
            return;
        };
        let name = part.name;
        if part.process.is_none() || part.beside.successor.is_some() {
            // The next start is of the new program anyway, or is on its way.
            return;
        }
        let messages = self.messages.clone();
        let started = self
            .spawn_part(name)
            .and_then(|child| Process::watch(name, child.id, child.handle, &messages, now));
        match started {
            Ok(process) => {
                tracing::info!(
                    process = name,
                    pid = process.id.pid,
                    "a successor is started"
                );
                let until = now.saturating_add(SUCCESSOR_MS);
                if let Some(part) = self.parts.get_mut(index) {
                    part.beside.successor = Some(Timed { process, until });
                }
            }
            Err(error) => self.no_successor(name, &error.to_string()),
        }
    }

    /// Somebody has asked for the table: perhaps a successor, which accepts then.
    pub(crate) fn subscribed(&mut self, pid: Option<u32>) {
        let now = Core::now();
        let is_it = |part: &crate::parts::Part| {
            let successor = part.beside.successor.as_ref();
            successor.is_some_and(|it| Some(it.process.id.pid) == pid)
        };
        let Some(index) = self.parts.iter().position(is_it) else {
            return;
        };
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        let Some(successor) = part.beside.successor.take() else {
            return;
        };
        let pid = successor.process.id.pid;
        if let Some(old) = part.process.replace(successor.process) {
            let _ = pidfd::send_signal(&old.handle, Signal::User2);
            part.beside.leaving.push(Timed {
                process: old,
                until: now.saturating_add(LEAVE_MS),
            });
        }
        self.part_started(index, pid);
    }

    /// One beside the one that counts has died; whether it was one.
    pub(crate) fn beside_died(&mut self, name: &str, pid: u32) -> bool {
        let Some(part) = self.parts.iter_mut().find(|part| part.name == name) else {
            return false;
        };
        let before = part.beside.leaving.len();
        part.beside.leaving.retain(|it| it.process.id.pid != pid);
        let left = part.beside.leaving.len() != before;
        let successor = part.beside.successor.take_if(|it| it.process.id.pid == pid);
        if successor.is_some() {
            self.no_successor(name, "it ended right after its start");
            return true;
        }
        left
    }

    /// The operations that waited for it have not come to their end, and nothing was changed.
    fn no_successor(&mut self, name: &str, reason: &str) {
        tracing::error!(process = name, reason, "its successor does not come");
        let mut ops = Vec::new();
        self.wide.retain(|wide| match wide {
            WideRecord::Process {
                op,
                process,
                gently: true,
                ..
            } if process == name => {
                ops.push(op.clone());
                false
            }
            _ => true,
        });
        for op in ops {
            let reason = format!("the new {name} did not come: {reason}; the old one serves");
            self.finish(&op, Outcome::TimedOut { reason });
        }
    }

    /// Ends what has had its time.
    pub(crate) fn look_after_renewals(&mut self, now: u64) {
        let mut late = Vec::new();
        for part in &mut self.parts {
            if part.beside.end_by.is_some_and(|at| at <= now) {
                part.beside.end_by = None;
                tracing::warn!(process = part.name, "does not end by itself and is killed");
                part.kill();
            }
            for it in part.beside.leaving.iter_mut().filter(|it| it.until <= now) {
                // Said once: its death is on its way.
                it.until = u64::MAX;
                let _ = pidfd::send_signal(&it.process.handle, Signal::Kill);
            }
            if let Some(it) = part.beside.successor.take_if(|it| it.until <= now) {
                let _ = pidfd::send_signal(&it.process.handle, Signal::Kill);
                late.push(part.name);
            }
        }
        for name in late {
            self.no_successor(name, "it did not ask for the routing table in time");
        }
    }

    /// Proxies that nobody counts on any more, of a supervisor that died in the middle: they
    /// are told that they have a successor.
    pub(crate) fn dismiss(&self, name: &str, others: Vec<(ProcessId, OwnedFd)>) {
        for (id, handle) in others {
            tracing::warn!(
                process = name,
                pid = id.pid,
                "is one too many and is to leave"
            );
            let _ = pidfd::send_signal(&handle, Signal::User2);
        }
    }
}
