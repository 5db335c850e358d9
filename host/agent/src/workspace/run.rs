//! One run of the command by `sh -c`: confined, timed, its output kept in bounds, and all that it
//! started ended with it.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grace_model::instance::ExitCause;
use grace_model::isolation::Missing;
use grace_os::leftovers::{Leftovers, MARKER, end_leftovers};
use grace_os::spawn::{Session, Spawn, SpawnError};
use grace_os::{OsError, pidfd, poll, wait};
use grace_sandbox::{Errand, Home, Machine};

/// Of the output, this much from the beginning and this much from the end is kept.
const KEPT: usize = 128 << 10;
/// How long the end of what is killed is waited for.
const KILL: Duration = Duration::from_secs(2);
/// How often a run looks whether the search is over.
const LOOK: Duration = Duration::from_millis(100);
/// Memory of one run. Two runs at once and the search itself stay below 2 GiB; a compiler needs
/// most of it.
const MEMORY: u64 = 1 << 30;
const TMP: u64 = 256 << 20;
const PIDS: u32 = 512;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Killed(i32),
    /// It ran too long.
    TimedOut,
    /// The search was told to stop.
    Stopped,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it ended.
    pub status: Status,
    /// Both streams as they came.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

impl Run {
    /// Whether the command is content.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.status == Status::Exited(0)
    }
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// For `sh -c`.
    pub command: &'a OsStr,
    /// Where.
    pub dir: &'a Path,
    /// Its variables.
    pub env: &'a [(OsString, OsString)],
    /// More of them; the later of two wins.
    pub more: &'a [(OsString, OsString)],
    /// It may write here besides `dir`.
    pub writable: &'a [PathBuf],
    /// It is ended after this.
    pub timeout: Duration,
    /// Of a command that compiles first, how long that may take before the time of `timeout`
    /// begins; zero for all others.
    pub building: Duration,
}

/// What cargo says when it has compiled and runs.
const BUILT: &[u8] = b" Running ";

/// The place where runs are confined.
#[derive(Debug)]
pub struct Room {
    machine: Machine,
    home: Home,
    /// What else below `/tmp` the command must see.
    keep: Vec<PathBuf>,
    marker: String,
    count: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Room {
    /// `name` is this search's own on this machine; `stop` ends all runs.
    #[must_use]
    pub fn new(name: &str, keep: Vec<PathBuf>, stop: Arc<AtomicBool>) -> Self {
        Self {
            machine: Machine::new(),
            home: Home::open(name, None),
            keep,
            marker: format!("agent-{name}"),
            count: AtomicU64::new(0),
            stop,
        }
    }

    fn errand(&self, dir: &Path, writable: &[PathBuf], count: u64) -> Errand {
        let mut writable = writable.to_vec();
        writable.push(dir.to_owned());
        Errand {
            name: format!("run-{count}"),
            writable,
            keep: self.keep.clone(),
            tmp_bytes: TMP,
            memory_bytes: MEMORY,
            pids: PIDS,
            file_bytes: TMP,
        }
    }

    /// What this machine does not give to the runs.
    #[must_use]
    pub fn missing(&self, dir: &Path) -> Vec<Missing> {
        let confined = self
            .errand(dir, &[], self.count.fetch_add(1, Ordering::Relaxed))
            .confine(&self.machine, &self.home);
        if let Some(group) = &confined.group {
            let _ = group.remove();
        }
        confined.missing
    }

    /// Runs it to its end, or to the timeout's.
    ///
    /// # Errors
    /// [`SpawnError`] when it could not be started.
    pub fn run(&self, settings: &Settings<'_>) -> Result<Run, SpawnError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut confined = self
            .errand(settings.dir, settings.writable, count)
            .confine(&self.machine, &self.home);
        if let Some(group) = &confined.group {
            confined.confinement.groups = group.open_joins()?;
        }
        let marker = format!("{}-{count}", self.marker);
        let done = self.start(settings, std::mem::take(&mut confined.confinement), &marker);
        if let Some(group) = &confined.group {
            let _ = group.kill(KILL);
            let _ = group.remove();
        }
        done
    }

    fn start(
        &self,
        settings: &Settings<'_>,
        confinement: grace_os::confine::Confinement,
        marker: &str,
    ) -> Result<Run, SpawnError> {
        let piped = |error| SpawnError::Os(OsError::new("pipe", "the command's output", error));
        let (mut output, input) = std::io::pipe().map_err(piped)?;
        let begun = Instant::now();
        let child = Spawn::new("/bin/sh")
            .args([OsStr::new("-c"), settings.command])
            .envs(settings.env.iter().cloned())
            .envs(settings.more.iter().cloned())
            .env(MARKER, marker)
            .env("PWD", settings.dir)
            .dir(settings.dir)
            .stdout(input.as_fd())
            .stderr(input.as_fd())
            .session(Session::New)
            .subreaper(true)
            .no_new_privileges(true)
            .confine(confinement)
            .start()?;
        drop(input);
        let mut kept = Kept::default();
        let mut open = true;
        let mut built = None;
        let early = loop {
            let allowed = match built {
                Some(at) => at + settings.timeout,
                None => settings.timeout.max(settings.building),
            };
            let left = allowed.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break Some(Status::TimedOut);
            }
            if self.stop.load(Ordering::Relaxed) {
                break Some(Status::Stopped);
            }
            let both = [child.handle.as_fd(), output.as_fd()];
            let fds = if open {
                &both[..]
            } else {
                both.get(..1).unwrap_or(&both)
            };
            let ready = poll::readable(fds, left.min(LOOK))?;
            if ready.get(1) == Some(&true) {
                open = kept.read(&mut output);
                if built.is_none() && !settings.building.is_zero() && kept.has(BUILT) {
                    built = Some(begun.elapsed());
                }
            } else if ready.first() == Some(&true) {
                break None;
            }
        };
        let took = begun.elapsed();
        self.end(&child, marker, early.is_some());
        // What is left in the pipe, not what a survivor may still write.
        while open && poll::readable(&[output.as_fd()], Duration::ZERO)? == [true] {
            open = kept.read(&mut output);
        }
        let cause = wait::wait_pid(child.pid)?.map(wait::WaitStatus::cause);
        let status = early.unwrap_or(match cause {
            Some(ExitCause::Code(code)) => Status::Exited(code),
            Some(ExitCause::Signal(signal)) => Status::Killed(signal),
            _ => Status::Killed(0),
        });
        Ok(Run {
            status,
            output: kept.text(),
            took,
        })
    }

    /// Ends all that the command has left. A group does it faster, see [`Room::run`]; whoever has
    /// none looks for the marker that all of them inherited.
    fn end(&self, child: &grace_os::spawn::Child, marker: &str, kill: bool) {
        if kill {
            let _ = pidfd::send_signal(&child.handle, grace_os::Signal::Kill);
        }
        let grouped = self.home.group(&format!(
            "run-{}",
            marker.rsplit('-').next().unwrap_or_default()
        ));
        if grouped.places().is_empty() {
            let _ = end_leftovers(
                &Leftovers {
                    main: Some(&child.id),
                    main_leads: true,
                    marker,
                    adopters: &[],
                    keep: &[],
                },
                KILL,
            );
        } else {
            let _ = grouped.kill(KILL);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.home.close();
    }
}

/// The beginning and the end of an output.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    dropped: bool,
}

impl Kept {
    /// Whether there may be more.
    fn read(&mut self, from: &mut std::io::PipeReader) -> bool {
        let mut buffer = [0; 16 << 10];
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.take(buffer.get(..count).unwrap_or_default());
                true
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * KEPT {
            self.tail.drain(..self.tail.len() - KEPT);
            self.dropped = true;
        }
    }

    fn has(&self, word: &[u8]) -> bool {
        let found = |text: &[u8]| text.windows(word.len()).any(|part| part == word);
        found(&self.head) || found(&self.tail)
    }

    fn text(self) -> String {
        let mut all = self.head;
        if self.dropped {
            all.extend_from_slice(b"\n[...]\n");
        }
        all.extend_from_slice(&self.tail);
        String::from_utf8_lossy(&all).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, timeout: u64) -> Run {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "here").unwrap();
        let name = format!("t{}", fastrand::u64(..));
        let room = Room::new(&name, Vec::new(), Arc::default());
        let path = std::env::var_os("PATH").unwrap();
        let env = [(OsString::from("PATH"), path)];
        room.run(&Settings {
            command: OsStr::new(command),
            dir: dir.path(),
            env: &env,
            more: &[],
            writable: &[],
            timeout: Duration::from_secs(timeout),
            building: Duration::ZERO,
        })
        .unwrap()
    }

    #[test]
    fn a_run_gives_its_code_and_both_of_its_streams() {
        let run = run("cat x; echo wrong >&2; exit 3", 60);
        assert_eq!(run.status, Status::Exited(3));
        assert_eq!(run.output, "herewrong\n");
    }

    #[test]
    fn a_run_that_does_not_end_is_ended_with_all_that_it_started() {
        let run = run("setsid sleep 345678 & sleep 345678", 1);
        assert_eq!(run.status, Status::TimedOut);
        let left = grace_os::tree::snapshot().into_iter().filter(|stat| {
            std::fs::read(format!("/proc/{}/cmdline", stat.pid))
                .is_ok_and(|line| line == b"sleep\x00345678\0" && !stat.is_gone())
        });
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_run_has_no_network_and_writes_nowhere_else() {
        let outside = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let command = format!(
            "cat /proc/net/dev; touch {0}/made; touch made /tmp/made && echo inside",
            outside.path().display()
        );
        let run = run(&command, 60);
        assert!(run.output.contains("inside"), "{run:?}");
        let room = Room::new("t-missing", Vec::new(), Arc::default());
        let missing: Vec<String> = room
            .missing(outside.path())
            .into_iter()
            .map(|one| one.what)
            .collect();
        if !missing.iter().any(|what| what.contains("network")) {
            let devices = run.output.lines().filter(|line| line.contains(':')).count();
            assert!(run.output.contains("lo:") && devices <= 3, "{run:?}");
        }
        if !missing.iter().any(|what| what.contains("mount")) {
            assert!(!outside.path().join("made").exists());
        }
    }

    #[test]
    fn of_a_long_output_the_beginning_and_the_end_are_kept() {
        let run = run("echo first; head -c 3000000 /dev/zero; echo last", 60);
        assert!(run.output.starts_with("first") && run.output.trim_end().ends_with("last"));
        assert!(run.output.len() < 4 * KEPT);
    }
}
