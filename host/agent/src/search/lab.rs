//! The copies and the runs in them: a set of changed files goes in, what the command says comes
//! out. Decides nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grace_os::spawn::SpawnError;

use crate::candidate::Candidate;
use crate::project::Project;
use crate::workspace::{Room, Run, Settings, Slot};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The copy could not be written.
    #[error(
        "a copy of the directory cannot be written: {0}: free some space in the temporary directory"
    )]
    Copy(#[from] std::io::Error),
    /// The command could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// A run with what was changed for it.
pub type Tried = Result<Run, LabError>;

/// The copies.
pub struct Lab {
    /// What is searched.
    pub project: Project,
    /// Where runs are confined.
    pub room: Room,
    task: Task,
    slots: Vec<Mutex<Slot>>,
    tries: AtomicU64,
}

/// What is run, the same each time.
#[derive(Debug, Clone)]
pub struct Task {
    /// The command, with the directory's own path where it names it.
    pub command: OsString,
    /// The directory's path as the command may name it.
    pub named: PathBuf,
    /// Its variables.
    pub env: Vec<(OsString, OsString)>,
    /// How long a run may take.
    pub timeout: Duration,
    /// Of a run that compiles first, how long that may take.
    pub building: Duration,
}

impl Lab {
    /// A lab with these copies.
    #[must_use]
    pub fn new(project: Project, room: Room, task: Task, slots: Vec<Slot>) -> Self {
        Self {
            project,
            room,
            task,
            slots: slots.into_iter().map(Mutex::new).collect(),
            tries: AtomicU64::new(0),
        }
    }

    /// How many copies there are.
    #[must_use]
    pub fn width(&self) -> usize {
        self.slots.len()
    }

    /// How often a changed copy was run.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    /// Changes how long a run may take.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.task.timeout = timeout;
    }

    /// Runs the command as it is in a copy.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn plain(&self, slot: usize) -> Tried {
        self.run(slot, &[], &|_| Vec::new(), &[])
    }

    /// Runs it with a candidate.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn candidate(&self, slot: usize, candidate: &Candidate) -> Tried {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let files = self.files(&candidate.changed(&self.project));
        self.run(slot, &files, &|_| Vec::new(), &[])
    }

    /// Texts by number as texts by path.
    #[must_use]
    pub fn files(&self, changed: &[(usize, Arc<str>)]) -> Vec<(PathBuf, Arc<str>)> {
        changed
            .iter()
            .filter_map(|(at, text)| {
                let file = self.project.files.get(*at)?;
                Some((file.path.clone(), Arc::clone(text)))
            })
            .collect()
    }

    /// Runs it with changed files, more variables (which may depend on where the copy is) and more
    /// places to write to.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn run(
        &self,
        slot: usize,
        files: &[(PathBuf, Arc<str>)],
        more: &dyn Fn(&Path) -> Vec<(OsString, OsString)>,
        writable: &[PathBuf],
    ) -> Tried {
        let slot = self.slots.get(slot).or(self.slots.first());
        let Some(slot) = slot else {
            return Err(LabError::Copy(std::io::ErrorKind::NotFound.into()));
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, text) in files {
            slot.write(path, text)?;
        }
        let more = more(slot.dir());
        let command = self.command_in(slot.dir());
        let done = self.room.run(&Settings {
            command: &command,
            dir: slot.dir(),
            env: &self.task.env,
            more: &more,
            writable,
            timeout: self.task.timeout,
            building: self.task.building,
        });
        slot.restore()?;
        Ok(done?)
    }

    /// What this machine does not give to the runs.
    #[must_use]
    pub fn missing(&self) -> Vec<grace_model::isolation::Missing> {
        let Some(slot) = self.slots.first() else {
            return Vec::new();
        };
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        self.room.missing(slot.dir())
    }

    /// The command names the copy where it named the directory.
    fn command_in(&self, dir: &Path) -> OsString {
        let (Some(command), Some(named), Some(dir)) = (
            self.task.command.to_str(),
            self.task.named.to_str(),
            dir.to_str(),
        ) else {
            return self.task.command.clone();
        };
        if named.len() > 1 && command.contains(named) {
            command.replace(named, dir).into()
        } else {
            self.task.command.clone()
        }
    }
}
