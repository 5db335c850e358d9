//! The keeper's loop: one poll over the supervisor's socket, its handle, and the handles of
//! instances, so that exits are collected when they happen. No threads, no runtime.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use grace_model::event::ProcessState;
use grace_model::id::InstanceId;
use grace_model::instance::ProcessId;
use grace_model::layout::Layout;
use grace_os::limit::OpenFiles;
use grace_os::{Signal, clock, inherit, lock, pass, pidfd, poll, process, umask, wait};

use super::pace::Pace;
use super::wire::{self, Exit, ToKeeper, ToSupervisor};
use super::{LINK, grace_process, prepare, raise_open_files};
use crate::error::Error;
use crate::files::Files;
use crate::program;

/// Exits remembered for the next supervisor. A machine cannot lose more instances in the time
/// that a supervisor needs to come back.
const EXITS: usize = 1024;

/// How often orphans that nobody waits for are reaped.
const IDLE: Duration = Duration::from_secs(1);

/// A supervisor stopped for longer than this is killed and replaced.
const STOPPED_MAX: Duration = Duration::from_secs(1);

/// The supervisor as the keeper knows it.
struct Supervisor {
    id: ProcessId,
    handle: OwnedFd,
    /// None: it has closed its end and is about to die.
    socket: Option<OwnedFd>,
    since: Instant,
    stopped_since: Option<Instant>,
}

struct Keeper {
    exe: PathBuf,
    state_dir: PathBuf,
    held: BTreeMap<String, OwnedFd>,
    exits: VecDeque<Exit>,
    supervisor: Option<Supervisor>,
    pace: Pace,
    /// A supervisor of this host has stood.
    stood: bool,
    bye: bool,
    /// The limit of open files of the processes it starts.
    files: OpenFiles,
}

pub(super) fn keep(exe: &Path, state_dir: &Path) -> Result<(), Error> {
    umask::set(0o077);
    let layout = Layout::new(state_dir);
    prepare(&layout)?;
    let _lock = lock::try_lock(&layout.keeper_lock()).map_err(|source| Error::Lock {
        process: "keeper",
        source,
    })?;
    process::set_subreaper()?;
    let mut keeper = Keeper {
        exe: exe.to_owned(),
        state_dir: state_dir.to_owned(),
        held: BTreeMap::new(),
        exits: VecDeque::new(),
        supervisor: None,
        pace: Pace::new(Instant::now()),
        stood: false,
        bye: false,
        files: raise_open_files(),
    };
    for inherited in inherit::listen_fds()? {
        if inherited.name == LINK {
            keeper.take_over(inherited.fd)?;
        } else {
            keeper
                .held
                .insert(inherited.name.replace('.', ":"), inherited.fd);
        }
    }
    while !keeper.bye {
        keeper.turn();
    }
    Ok(())
}

impl Keeper {
    /// A living supervisor has started this keeper.
    fn take_over(&mut self, socket: OwnedFd) -> Result<(), Error> {
        wire::bound_sends(&socket)?;
        self.stood = true;
        let pid = pass::peer(&socket)?.pid;
        let handle = pidfd::open(pid)?;
        if let Some(id) = process::identity(pid) {
            self.watch(id, handle, socket);
        }
        Ok(())
    }

    fn watch(&mut self, id: ProcessId, handle: OwnedFd, socket: OwnedFd) {
        let since = Instant::now();
        let socket = Some(socket);
        self.supervisor = Some(Supervisor {
            id,
            handle,
            socket,
            since,
            stopped_since: None,
        });
    }

    fn turn(&mut self) {
        if self.supervisor.is_none() && self.pace.left(Instant::now()).is_zero() {
            self.start_supervisor();
        }
        let longest = match &self.supervisor {
            None => {
                self.save_output();
                self.pace.left(Instant::now()).min(IDLE)
            }
            Some(_) => IDLE,
        };
        let (socket_ready, gone) = self.wait(longest);
        if socket_ready {
            self.hear();
        }
        self.reap();
        if gone || self.is_supervisor_dead() {
            self.supervisor_died();
        }
        self.look_after_supervisor();
        // A handle stays readable for ever after the death.
        self.held.retain(|name, fd| {
            !name.starts_with("pidfd:") || !pidfd::is_dead(&*fd).unwrap_or(true)
        });
    }

    /// Whether the socket has something, and whether the supervisor is dead.
    fn wait(&self, longest: Duration) -> (bool, bool) {
        let handles = self
            .held
            .iter()
            .filter(|(name, _)| name.starts_with("pidfd:"));
        let mut fds = Vec::new();
        let mut socket_at = None;
        let mut handle_at = None;
        if let Some(supervisor) = &self.supervisor {
            handle_at = Some(fds.len());
            fds.push(supervisor.handle.as_fd());
            if let Some(socket) = &supervisor.socket {
                socket_at = Some(fds.len());
                fds.push(socket.as_fd());
            }
        }
        fds.extend(handles.map(|(_, fd)| fd.as_fd()));
        match poll::readable(&fds, longest) {
            Ok(ready) => {
                let at = |index: Option<usize>| {
                    index.is_some_and(|index| ready.get(index).copied().unwrap_or(false))
                };
                (at(socket_at), at(handle_at))
            }
            Err(error) => {
                tracing::error!(%error, "keeper cannot wait");
                std::thread::sleep(Duration::from_millis(100));
                (false, false)
            }
        }
    }

    fn hear(&mut self) {
        let Some(socket) = self.supervisor.as_ref().and_then(|s| s.socket.as_ref()) else {
            return;
        };
        match wire::receive::<ToKeeper>(socket) {
            Ok(Some((ToKeeper::Store(name), Some(fd)))) => {
                self.held.insert(name, fd);
            }
            Ok(Some((ToKeeper::Store(name), None))) => {
                tracing::error!(name, "a store came without its open file");
            }
            Ok(Some((ToKeeper::Drop(name), _))) => {
                self.held.remove(&name);
            }
            Ok(Some((ToKeeper::Fetch, _))) => self.send_all(),
            Ok(Some((ToKeeper::Stands, _))) => self.stood = true,
            Ok(Some((ToKeeper::Bye, _))) => self.bye = true,
            Ok(None) => self.hang_up(),
            Err(error) => {
                tracing::error!(%error, "keeper hears no sense from the supervisor");
                self.hang_up();
            }
        }
    }

    fn hang_up(&mut self) {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.socket = None;
        }
    }

    fn send_all(&mut self) {
        let hello = ToSupervisor::Hello {
            pid: std::process::id(),
            first: !self.stood,
        };
        let mut sent = self.tell(&hello, None);
        for (name, fd) in &self.held {
            sent = sent.and_then(|()| self.tell(&ToSupervisor::Held(name.clone()), Some(fd)));
        }
        for exit in &self.exits {
            sent = sent.and_then(|()| self.tell(&ToSupervisor::Exited(exit.clone()), None));
        }
        sent = sent.and_then(|()| self.tell(&ToSupervisor::End, None));
        if let Err(error) = sent {
            tracing::error!(%error, "keeper cannot hand over what it holds");
            self.hang_up();
        }
    }

    fn tell(&self, message: &ToSupervisor, fd: Option<&OwnedFd>) -> Result<(), Error> {
        match self.supervisor.as_ref().and_then(|s| s.socket.as_ref()) {
            Some(socket) => wire::send(socket, message, fd),
            None => Ok(()),
        }
    }

    fn reap(&mut self) {
        let ends = match wait::wait_any_nonblocking() {
            Ok(ends) => ends,
            Err(error) => {
                tracing::error!(%error, "keeper cannot reap");
                return;
            }
        };
        for (pid, status) in ends {
            if self.supervisor.as_ref().is_some_and(|s| s.id.pid == pid) {
                tracing::warn!(pid, how = status.cause().text(), "the supervisor has ended");
                continue;
            }
            let exit = Exit {
                pid,
                cause: status.cause(),
                at: clock::boot_ms(),
            };
            if let Err(error) = self.tell(&ToSupervisor::Exited(exit.clone()), None) {
                tracing::debug!(%error, "an exit waits for the next supervisor");
            }
            self.exits.push_back(exit);
            while self.exits.len() > EXITS {
                self.exits.pop_front();
            }
        }
    }

    fn is_supervisor_dead(&self) -> bool {
        self.supervisor
            .as_ref()
            .is_some_and(|s| pidfd::is_dead(&s.handle).unwrap_or(false))
    }

    fn supervisor_died(&mut self) {
        let Some(supervisor) = self.supervisor.take() else {
            return;
        };
        self.pace.died(supervisor.since, Instant::now());
    }

    /// Nobody reads the output of instances while there is no supervisor, and a worker whose
    /// FIFO is full stands still. Only then: two who write to one file spoil it.
    fn save_output(&self) {
        let layout = Layout::new(&self.state_dir);
        for (name, fd) in &self.held {
            let Some(id) = name.strip_prefix("fifo:") else {
                continue;
            };
            if let Ok(fifo) = fd.try_clone() {
                let log = layout.log(&InstanceId::from(id));
                Files::new(&log, 0).take(&File::from(fifo));
            }
        }
    }

    /// Nobody else would notice a supervisor that was stopped.
    fn look_after_supervisor(&mut self) {
        let Some(supervisor) = &mut self.supervisor else {
            return;
        };
        if process::state(&supervisor.id) != ProcessState::Stopped {
            supervisor.stopped_since = None;
            return;
        }
        let since = *supervisor.stopped_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= STOPPED_MAX {
            tracing::warn!(
                pid = supervisor.id.pid,
                "the supervisor is stopped and is replaced"
            );
            let _ = pidfd::send_signal(&supervisor.handle, Signal::Kill);
        }
    }

    fn start_supervisor(&mut self) {
        let started = pass::pair()
            .map_err(Error::from)
            .and_then(|(ours, theirs)| {
                wire::bound_sends(&ours)?;
                let (output, errors) = (std::io::stdout(), std::io::stderr());
                let exe = program::to_start(&Layout::new(&self.state_dir), &self.exe);
                let spawn = grace_process(&exe, "supervisor", &self.state_dir)
                    .stdout(output.as_fd())
                    .stderr(errors.as_fd())
                    .subreaper(true)
                    .open_files(self.files)
                    .listen_fds([(LINK, theirs.as_fd())]);
                let child = spawn.start().map_err(|source| Error::Spawn {
                    process: "supervisor",
                    source,
                })?;
                Ok((child, ours))
            });
        match started {
            Ok((child, socket)) => {
                self.watch(child.id, child.handle, socket);
            }
            Err(error) => {
                tracing::error!(%error, "the supervisor could not be started");
                self.pace.failed(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keeper whose supervisors do nothing.
    fn keeper(dir: &Path) -> Keeper {
        let exe = dir.join("idle");
        std::fs::write(&exe, "#!/bin/sh\nexec sleep 86400\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&exe, mode).unwrap();
        Keeper {
            exe,
            state_dir: dir.to_owned(),
            held: BTreeMap::new(),
            exits: VecDeque::new(),
            supervisor: None,
            pace: Pace::new(Instant::now()),
            stood: false,
            bye: false,
            files: raise_open_files(),
        }
    }

    #[test]
    fn the_death_of_a_supervisor_wakes_the_keeper_which_starts_another_in_the_next_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = keeper(dir.path());
        keeper.start_supervisor();
        let supervisor = keeper.supervisor.as_mut().unwrap();
        let first = supervisor.id.clone();
        // As one that had run for a while.
        supervisor.since = Instant::now() - Duration::from_secs(3_600);
        supervisor.socket = None;
        pidfd::send_signal(&supervisor.handle, Signal::Kill).unwrap();
        // Its handle alone ends this: the wait is far longer than any test may run.
        let (_, gone) = keeper.wait(Duration::from_secs(86_400));
        assert!(gone);
        keeper.supervisor_died();
        assert!(keeper.supervisor.is_none());
        assert_eq!(keeper.pace.left(Instant::now()), Duration::ZERO);
        keeper.start_supervisor();
        let second = keeper.supervisor.as_ref().unwrap();
        assert_ne!(second.id, first);
        pidfd::send_signal(&second.handle, Signal::Kill).unwrap();
    }

    #[test]
    fn while_there_is_no_supervisor_the_output_of_instances_goes_on_into_their_files() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.logs()).unwrap();
        let id = InstanceId::from("shop-1");
        let path = dir.path().join("fifo");
        grace_os::fifo::make(&path).unwrap();
        let reader = grace_os::fifo::open_reader(&path).unwrap();
        grace_os::fifo::set_pipe_size(&reader, 1024 * 1024).unwrap();
        let mut keeper = keeper(dir.path());
        keeper.held.insert(format!("fifo:{id}"), reader.into());
        let mut writer = File::from(grace_os::fifo::open_writer(&path).unwrap());
        std::fs::write(layout.log(&id), "before\n").unwrap();
        // No program can be started, and a FIFO holds far less than what is written.
        keeper.exe = PathBuf::from("/no/such/program");
        let line = "x".repeat(300 * 1024 - 1) + "\n";
        for _ in 0..5 {
            writer.write_all(line.as_bytes()).unwrap();
            keeper.turn();
        }
        let aside = std::fs::read_to_string(layout.log(&id).with_file_name("shop-1.log.1"));
        let text = aside.unwrap() + &std::fs::read_to_string(layout.log(&id)).unwrap_or_default();
        assert!(text.starts_with("before\nxxx"));
        assert!(keeper.supervisor.is_none());
        assert_eq!(text.len(), 7 + 5 * 300 * 1024);
    }
}
