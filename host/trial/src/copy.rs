//! Making one copy, from outside: the namespaces, the program inside them, the job and what came
//! of it. Whatever happens to this process, the copy ends with the thread that made it.

use std::io::{self, Read, Write, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use grace_capsule::Observed;
use grace_model::isolation::Missing;
use grace_os::spawn::{DEFAULT_PATH, Session, Spawn, SpawnError, find_program};
use grace_os::{Signal, pidfd, wait};
use grace_sandbox::Machine;

use crate::job::Job;

/// What all files of a copy together may take; it counts as memory.
const SCRATCH: u64 = 256 << 20;

/// Why there was no copy.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The machine does not give what a copy is shut into.
    #[error("a copy cannot be shut in here: no {0}")]
    Missing(Missing),
    /// The program inside could not be started.
    #[error("a copy could not be started: {0}")]
    Spawn(#[from] SpawnError),
    /// The system.
    #[error("a copy could not be made: {0}")]
    Io(#[from] io::Error),
    /// It ended without a word.
    #[error("a copy ended without saying what it saw: {0}")]
    Silent(String),
}

/// Makes copies.
#[derive(Debug)]
pub struct Copier {
    exe: PathBuf,
    machine: Machine,
}

impl Copier {
    /// Copies whose inside is `exe internal copy`, this same program.
    #[must_use]
    pub fn new(exe: PathBuf) -> Self {
        Self {
            exe,
            machine: Machine::new(),
        }
    }

    /// How a copy is shut in, or what is missing for it.
    ///
    /// # Errors
    /// [`TrialError::Missing`].
    pub fn isolation(&self) -> Result<Vec<String>, TrialError> {
        let shell = grace_sandbox::shell(&self.machine, &[], SCRATCH);
        shell
            .map(|shell| shell.applied)
            .map_err(TrialError::Missing)
    }

    /// Whether a copy can be kept from calls that change the kernel.
    #[must_use]
    pub fn filters(&self) -> bool {
        grace_sandbox::filters(&self.machine)
    }

    /// Runs one copy to its end. The calling thread must live until then, since the copy ends
    /// with it.
    ///
    /// # Errors
    /// [`TrialError`]; that is about this machine and says nothing about the failure.
    pub fn run(&self, job: &Job) -> Result<Observed, TrialError> {
        let keep = self.seen(job);
        let shell =
            grace_sandbox::shell(&self.machine, &keep, SCRATCH).map_err(TrialError::Missing)?;
        let (told, mut tell) = pipe()?;
        let (mut heard, say) = pipe()?;
        let child = Spawn::new(&self.exe)
            .args(["internal", "copy"])
            .env("PATH", DEFAULT_PATH)
            .dir("/")
            .stdin(told.as_fd())
            .stdout(say.as_fd())
            .session(Session::New)
            .die_with_parent(true)
            .confine(shell.confinement)
            .start()?;
        drop((told, say));
        let end = Ended {
            pid: child.pid,
            handle: &child.handle,
        };
        let text = serde_json::to_vec(job).map_err(io::Error::other)?;
        // One that has ended says so by what it does not write.
        let written = tell.write_all(&text);
        drop(tell);
        let mut answer = Vec::new();
        heard.read_to_end(&mut answer)?;
        drop(end);
        match serde_json::from_slice(&answer) {
            Ok(observed) => Ok(observed),
            Err(error) => Err(TrialError::Silent(match written {
                Err(error) => error.to_string(),
                Ok(()) => format!("{} bytes, {error}", answer.len()),
            })),
        }
    }

    /// What the copy must see below `/tmp`, where it has its own.
    fn seen(&self, job: &Job) -> Vec<PathBuf> {
        let path = job.service.env.get("PATH");
        let path = path.map_or(DEFAULT_PATH, String::as_str);
        let program = job.service.command.first();
        let found = program.and_then(|it| {
            find_program(it.as_ref(), path.as_ref(), Some(&job.service.work_dir)).ok()
        });
        let seeds = job
            .service
            .config
            .iter()
            .filter_map(|file| file.seed.clone());
        [Some(self.exe.clone()), found]
            .into_iter()
            .flatten()
            .filter_map(|file| file.parent().map(Path::to_owned))
            .chain([job.service.work_dir.clone()])
            .chain(job.snapshot.clone())
            .chain(seeds)
            .filter(|path| path.parent().is_some())
            .collect()
    }
}

/// Ends the copy and all in it, and takes its end from the kernel.
struct Ended<'a> {
    pid: u32,
    handle: &'a std::os::fd::OwnedFd,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        // The first process of a namespace takes all others with it.
        let _ = pidfd::send_signal(self.handle, Signal::Kill);
        let _ = wait::wait_pid(self.pid);
    }
}
