//! Grace's other processes: proxy, healer, keeper. Started, watched, started again at once;
//! one that dies right after its start waits a little longer each time.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use grace_model::event::What;
use grace_model::instance::ProcessId;
use grace_os::inherit::FIRST_FD;
use grace_os::spawn::Child;
use grace_os::{Signal, pass, pidfd};
use tokio::task::AbortHandle;

use crate::core::{Core, Message};
use crate::error::Error;
use crate::keeper::{LINK, grace_process};
use crate::program;
use crate::renew::Beside;
use crate::watch;

/// A process that dies sooner than this after its start makes the next one wait.
const SOON_MS: u64 = 1_000;

/// First and longest of those waits.
const WAIT_MS: (u64, u64) = (10, 1_000);

/// One of them.
#[derive(Debug)]
pub(crate) struct Part {
    pub name: &'static str,
    pub process: Option<Process>,
    pub restarts: u64,
    /// Its processes that do not count: one that comes, those that leave.
    pub beside: Beside,
    /// When to start it. None: it runs, or is not wanted.
    next_start: Option<u64>,
    wait_ms: u64,
}

/// Its process.
#[derive(Debug)]
pub(crate) struct Process {
    pub id: ProcessId,
    pub handle: OwnedFd,
    watch: AbortHandle,
    since: u64,
    stopped: bool,
}

impl Part {
    pub(crate) fn new(name: &'static str, restarts: u64) -> Self {
        Self {
            name,
            process: None,
            restarts,
            beside: Beside::default(),
            next_start: None,
            wait_ms: 0,
        }
    }

    /// 0: none runs.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, |process| process.id.pid)
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let beside = self.beside.deadline();
        self.next_start.into_iter().chain(beside).min()
    }

    /// Has it started at the next turn.
    pub(crate) fn want(&mut self, now: u64) {
        if self.process.is_none() {
            self.next_start = Some(now);
        }
    }

    /// Takes a running process as its own.
    pub(crate) fn watch(
        &mut self,
        id: ProcessId,
        handle: OwnedFd,
        messages: &tokio::sync::mpsc::Sender<Message>,
        now: u64,
    ) -> Result<(), Error> {
        self.process = Some(Process::watch(self.name, id, handle, messages, now)?);
        self.next_start = None;
        Ok(())
    }

    fn ended(&mut self, now: u64) {
        let Some(process) = self.process.take() else {
            return;
        };
        process.watch.abort();
        self.beside.end_by = None;
        self.wait_ms = if now.saturating_sub(process.since) < SOON_MS {
            (self.wait_ms * 2).clamp(WAIT_MS.0, WAIT_MS.1)
        } else {
            0
        };
        self.next_start = Some(now.saturating_add(self.wait_ms));
    }

    fn failed(&mut self, now: u64) {
        self.wait_ms = (self.wait_ms * 2).clamp(WAIT_MS.0, WAIT_MS.1);
        self.next_start = Some(now.saturating_add(self.wait_ms));
    }

    pub(crate) fn kill(&self) {
        if let Some(process) = &self.process
            && let Err(error) = pidfd::send_signal(&process.handle, Signal::Kill)
            && !error.is_absent()
        {
            tracing::error!(%error, process = self.name, "not killed");
        }
    }
}

impl Process {
    /// Watches a running process.
    pub(crate) fn watch(
        name: &'static str,
        id: ProcessId,
        handle: OwnedFd,
        messages: &tokio::sync::mpsc::Sender<Message>,
        now: u64,
    ) -> Result<Self, Error> {
        let death = Message::PartDeath { name, pid: id.pid };
        match watch::death(&handle, messages, death) {
            Ok(watch) => Ok(Self {
                id,
                handle,
                watch,
                since: now,
                stopped: false,
            }),
            Err(error) => {
                // A process that nobody watches must not run.
                let _ = pidfd::send_signal(&handle, Signal::Kill);
                Err(error.into())
            }
        }
    }
}

impl Core {
    /// A process of Grace is dead.
    pub(crate) fn part_died(&mut self, name: &'static str, pid: u32) {
        self.reap();
        let now = Core::now();
        let cause = self.ends.remove(&pid);
        if self.beside_died(name, pid) {
            return;
        }
        let part = if name == self.keeper.name {
            Some(&mut self.keeper)
        } else {
            self.parts.iter_mut().find(|part| part.name == name)
        };
        if let Some(part) = part.filter(|part| part.pid() == pid) {
            let how = cause.map_or("unknown".to_owned(), |cause| cause.text());
            tracing::warn!(process = name, pid, how, "a process of Grace has ended");
            part.ended(now);
        }
        self.start_parts(now);
    }

    /// Starts those that are due.
    pub(crate) fn start_parts(&mut self, now: u64) {
        self.look_after_renewals(now);
        if self.keeper.next_start.is_some_and(|at| at <= now) {
            self.start_keeper(now);
        }
        for index in 0..self.parts.len() {
            let due = self
                .parts
                .get(index)
                .filter(|p| p.next_start.is_some_and(|at| at <= now));
            let Some(name) = due.map(|part| part.name) else {
                continue;
            };
            let child = self.spawn_part(name);
            let messages = self.messages.clone();
            let Some(part) = self.parts.get_mut(index) else {
                continue;
            };
            let started = child.and_then(|child| {
                let pid = child.pid;
                part.watch(child.id, child.handle, &messages, now)
                    .map(|()| pid)
            });
            match started {
                Ok(pid) => self.part_started(index, pid),
                Err(error) => {
                    part.failed(now);
                    tracing::error!(%error, process = name, "could not be started");
                }
            }
        }
    }

    pub(crate) fn part_started(&mut self, index: usize, pid: u32) {
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        let name = part.name;
        let file = self.layout.run().join(format!("{name}.pid"));
        let id = part
            .process
            .as_ref()
            .and_then(|process| serde_json::to_vec(&process.id).ok());
        if let Err(error) = fs::write(&file, id.unwrap_or_default()) {
            tracing::error!(%error, "{} cannot be written", file.display());
        }
        part.restarts += 1;
        tracing::info!(process = name, pid, "started");
        // The first start of all is no restart.
        if part.restarts > 1 {
            self.record(What::ProcessRestarted {
                process: name.to_owned(),
                pid,
            });
        }
        self.save();
    }

    pub(crate) fn spawn_part(&self, name: &'static str) -> Result<Child, Error> {
        let (output, errors) = (std::io::stdout(), std::io::stderr());
        let exe = program::to_start(&self.layout, &self.exe);
        let mut spawn = grace_process(&exe, name, self.layout.root())
            .stdout(output.as_fd())
            .stderr(errors.as_fd());
        // The proxy opens a file a connection; the others start programs of the operator's.
        if name != "proxy" {
            spawn = spawn.open_files(self.files);
        }
        if name == "proxy" && !self.listeners.is_empty() {
            // By hand: the names `listen:SERVICE:N` hold the colon that parts names there.
            let names: Vec<&str> = self.listeners.keys().map(String::as_str).collect();
            spawn = spawn
                .env("LISTEN_FDS", names.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"));
            for (number, fd) in (FIRST_FD..).zip(self.listeners.values()) {
                spawn = spawn.fd(number, fd.as_fd());
            }
        }
        spawn.start().map_err(|source| Error::Spawn {
            process: name,
            source,
        })
    }

    /// Starts another keeper and gives it everything.
    fn start_keeper(&mut self, now: u64) {
        match self.try_start_keeper(now) {
            Ok(pid) => {
                self.keeper.restarts += 1;
                tracing::warn!(pid, "another keeper stands");
                self.record(What::ProcessRestarted {
                    process: "keeper".to_owned(),
                    pid,
                });
                self.save();
            }
            Err(error) => {
                self.keeper.failed(now);
                tracing::error!(%error, "no other keeper could be started");
            }
        }
    }

    fn try_start_keeper(&mut self, now: u64) -> Result<u32, Error> {
        let (ours, theirs) = pass::pair()?;
        let (output, errors) = (std::io::stdout(), std::io::stderr());
        let exe = program::to_start(&self.layout, &self.exe);
        let spawn = grace_process(&exe, "keeper", self.layout.root())
            .stdout(output.as_fd())
            .stderr(errors.as_fd())
            .open_files(self.files)
            .listen_fds([(LINK, theirs.as_fd())]);
        let child = spawn.start().map_err(|source| Error::Spawn {
            process: "keeper",
            source,
        })?;
        self.keeper
            .watch(child.id, child.handle, &self.messages, now)?;
        self.link.renew(ours)?;
        self.link.listen(self.messages.clone())?;
        for (name, fd) in &self.listeners {
            self.link.store(name, fd);
        }
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        for id in ids {
            self.hold(&id);
            if let Some(running) = self.slots.get(&id).and_then(|slot| slot.running.as_ref()) {
                self.link.store(&format!("pidfd:{id}"), &running.handle);
            }
        }
        Ok(child.pid)
    }

    /// A stopped process of Grace is as good as dead, and nobody else would notice. Seen at
    /// two beats in a row, so that a debugger's blink is no reason.
    pub(crate) fn look_at_parts(&mut self, now: u64) {
        for part in self.parts.iter_mut().chain([&mut self.keeper]) {
            let Some(process) = &mut part.process else {
                continue;
            };
            let stopped = Core::is_stopped(&process.id);
            let again = process.stopped && stopped;
            process.stopped = stopped;
            if again {
                tracing::warn!(process = part.name, "is stopped and is replaced");
                part.kill();
            }
        }
        self.start_parts(now);
    }
}

#[cfg(test)]
mod tests {
    use grace_os::spawn::Spawn;

    use super::*;

    fn run(part: &mut Part, messages: &tokio::sync::mpsc::Sender<Message>, now: u64) {
        let child = Spawn::new("sleep").args(["600"]).start().unwrap();
        part.watch(child.id, child.handle, messages, now).unwrap();
    }

    #[tokio::test]
    async fn a_proxy_that_ran_is_followed_at_once_and_one_that_dies_at_its_start_ever_later() {
        let (messages, mut told) = tokio::sync::mpsc::channel(8);
        let mut part = Part::new("proxy", 0);
        part.want(5);
        assert_eq!(part.deadline(), Some(5));
        run(&mut part, &messages, 5);
        assert_eq!(part.deadline(), None);
        // Its death is an event that ends the wait for the next turn, and then it is due.
        let pid = part.pid();
        part.kill();
        let death = told.recv().await.unwrap();
        assert!(
            matches!(death, Message::PartDeath { name: "proxy", pid: it } if it == pid),
            "{death:?}"
        );
        let mut now = 5 + SOON_MS;
        part.ended(now);
        assert_eq!((part.pid(), part.deadline()), (0, Some(now)));
        let mut waits = Vec::new();
        for _ in 0..9 {
            run(&mut part, &messages, now);
            part.kill();
            part.ended(now);
            let due = part.deadline().unwrap();
            waits.push(due - now);
            now = due;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        // One that ran for a while makes up for those.
        run(&mut part, &messages, now);
        part.kill();
        now += SOON_MS;
        part.ended(now);
        assert_eq!(part.deadline(), Some(now));
    }
}
