//! What is written down of a fault before it begins: whose it is, and how it is undone. Undoing
//! needs nothing but this file, so that whoever finds it can do it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use grace_model::instance::ProcessId;
use grace_model::layout::Layout;
use grace_os::{Signal, pidfd, process};
use serde::{Deserialize, Serialize};

/// A fault that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which.
    pub fault: String,
    /// The instance or the process of Grace.
    pub target: String,
    /// The process that owns it.
    pub owner: ProcessId,
    /// In the order in which they are done.
    pub undo: Vec<Undo>,
}

/// One thing that is undone. Each may be done again without harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// A stopped process goes on, if it is still that process.
    Continue {
        /// Which.
        process: ProcessId,
    },
    /// A process that the fault started ends.
    End {
        /// Which.
        process: ProcessId,
    },
    /// A file gets its bytes back, unless somebody else has changed it since.
    Restore {
        /// Which.
        path: PathBuf,
        /// A copy of what it was.
        copy: PathBuf,
        /// What the fault put there; none: it deleted the file.
        harmed: Option<Vec<u8>>,
    },
    /// A file of the fault goes.
    Remove {
        /// Which.
        path: PathBuf,
    },
}

impl Undo {
    /// Undoes it.
    ///
    /// # Errors
    /// When it is still to be done.
    pub fn perform(&self) -> Result<()> {
        match self {
            Undo::Continue { process } => signal(process, Signal::Continue),
            Undo::End { process } => signal(process, Signal::Kill),
            Undo::Remove { path } => gone(fs::remove_file(path))
                .with_context(|| format!("cannot remove {}", path.display())),
            Undo::Restore { path, copy, harmed } => {
                let now = match fs::read(path) {
                    Ok(bytes) => Some(bytes),
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("cannot read {}", path.display()));
                    }
                };
                // Healed meanwhile, or changed by its owner: that is not ours to undo.
                if now == *harmed {
                    match fs::read(copy) {
                        Ok(bytes) => put(path, &bytes)?,
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => {
                            return Err(error)
                                .with_context(|| format!("cannot read {}", copy.display()));
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// Writes a file's bytes where the file is, with the owner and mode that it has; one that is
/// gone is made as its directory's owner's.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn gone(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// To exactly this process; one that is gone needs none.
pub(crate) fn signal(id: &ProcessId, signal: Signal) -> Result<()> {
    if let Some(handle) = pidfd::open_same(id)? {
        match pidfd::send_signal(&handle, signal) {
            Err(error) if !pidfd::is_dead(&handle)? => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

impl Record {
    /// Writes it, whole or not at all, and to disk.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may begin.
    pub fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("cannot write {}", new.display()))?;
        out.write_all(&serde_json::to_vec(self)?)?;
        out.sync_all()?;
        fs::rename(&new, file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Undoes all of it, then forgets it. What could not be undone keeps the record.
    ///
    /// # Errors
    /// The first thing that is still to be done.
    pub fn undo(&self, file: &Path) -> Result<()> {
        let mut failed = None;
        for one in &self.undo {
            if let Err(error) = one.perform() {
                failed.get_or_insert(error);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        // Copies go last: they are what a restore needs.
        for one in &self.undo {
            if let Undo::Restore { copy, .. } = one {
                gone(fs::remove_file(copy))?;
            }
        }
        gone(fs::remove_file(file)).with_context(|| format!("cannot remove {}", file.display()))
    }

    /// Whether its owner lives.
    #[must_use]
    pub fn owned(&self) -> bool {
        process::is_same(&self.owner)
            && process::state(&self.owner) != grace_model::event::ProcessState::Gone
    }
}

/// All records of a host, with their files.
pub fn all(layout: &Layout) -> Vec<(PathBuf, Record)> {
    let files = fs::read_dir(layout.chaos()).into_iter().flatten().flatten();
    files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "fault"))
        .filter_map(|path| {
            let record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some((path, record))
        })
        .collect()
}

/// Whose faults are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Those whose owner is dead.
    Orphans,
    /// All: their owners are ended first.
    All,
}

/// Undoes what is left of faults; which those were, and what could not be undone.
#[must_use]
pub fn sweep(layout: &Layout, whose: Sweep) -> (Vec<String>, Vec<String>) {
    let (mut undone, mut failed) = (Vec::new(), Vec::new());
    for (file, record) in all(layout) {
        if record.owned() {
            if whose == Sweep::Orphans {
                continue;
            }
            let _ = signal(&record.owner, Signal::Kill);
        }
        let name = format!("{} of {}", record.fault, record.target);
        match record.undo(&file) {
            Ok(()) => undone.push(name),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    (undone, failed)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn dead() -> ProcessId {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let id = process::identity(child.id()).expect("identity");
        child.kill().expect("kill");
        child.wait().expect("wait");
        id
    }

    #[test]
    fn a_fault_whose_owner_was_killed_is_undone_and_one_that_is_owned_is_left() {
        let dir = tempfile::tempdir().expect("tempdir");
        let layout = Layout::new(dir.path());
        fs::create_dir_all(layout.chaos()).expect("mkdir");
        let (file, copy) = (dir.path().join("config"), layout.chaos().join("copy"));
        fs::write(&file, "rubbish").expect("write");
        fs::write(&copy, "good").expect("write");
        let mut stopped = Command::new("sleep").arg("60").spawn().expect("sleep");
        let id = process::identity(stopped.id()).expect("identity");
        signal(&id, Signal::Stop).expect("stop");
        let mut record = Record {
            fault: "config-rubbish".to_owned(),
            target: "shop-1".to_owned(),
            owner: process::own_identity().expect("own"),
            undo: vec![
                Undo::Continue {
                    process: id.clone(),
                },
                Undo::Restore {
                    path: file.clone(),
                    copy: copy.clone(),
                    harmed: Some(b"rubbish".to_vec()),
                },
            ],
        };
        let at = layout.chaos().join("one.fault");
        record.write(&at).expect("write");
        assert_eq!(sweep(&layout, Sweep::Orphans), (vec![], vec![]));
        assert_eq!(fs::read(&file).expect("read"), b"rubbish");
        record.owner = dead();
        record.write(&at).expect("write");
        let (undone, failed) = sweep(&layout, Sweep::Orphans);
        assert_eq!(undone, ["config-rubbish of shop-1"]);
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(fs::read(&file).expect("read"), b"good");
        assert!(!copy.exists() && !at.exists());
        let begun = std::time::Instant::now();
        while grace_demo::judge::life(id.pid) == grace_demo::judge::Life::Stopped {
            assert!(begun.elapsed().as_secs() < 30, "it stays stopped");
            std::thread::yield_now();
        }
        stopped.kill().expect("kill");
        stopped.wait().expect("wait");
    }

    #[test]
    fn a_file_that_somebody_changed_since_is_not_put_back() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (file, copy) = (dir.path().join("config"), dir.path().join("copy"));
        fs::write(&file, "healed").expect("write");
        fs::write(&copy, "good").expect("write");
        let undo = Undo::Restore {
            path: file.clone(),
            copy,
            harmed: Some(b"rubbish".to_vec()),
        };
        undo.perform().expect("undo");
        assert_eq!(fs::read(&file).expect("read"), b"healed");
    }
}
