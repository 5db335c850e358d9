//! Copies of the directory and runs of the command in them. The directory itself is read once
//! and, but for [`apply`], never written.

mod environment;
mod interpreter;
mod run;
mod scan;
mod slot;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use environment::variables;
pub use interpreter::shortcuts;
pub use run::{Room, Run, Settings, Status};
pub use scan::{Scan, ScanError, scan};
pub use slot::Slot;

/// Why a change could not be written to the directory.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Someone changed the file meanwhile.
    #[error("{} was changed while the search ran: apply the diff by hand with patch -p1", .0.display())]
    Changed(PathBuf),
    /// It cannot be written.
    #[error("{} cannot be written: {}: apply the diff as a user who may, with patch -p1", .0.display(), .1)]
    Write(PathBuf, std::io::Error),
}

/// Writes changed files, each whole or not at all, if they are still as they were read.
///
/// # Errors
/// [`ApplyError`]; files before the one that failed are written.
pub fn apply(dir: &Path, files: &[(PathBuf, Arc<str>, Arc<str>)]) -> Result<(), ApplyError> {
    for (path, old, _) in files {
        let full = dir.join(path);
        if fs::read(&full).ok().as_deref() != Some(old.as_bytes()) {
            return Err(ApplyError::Changed(full));
        }
    }
    for (path, _, new) in files {
        let full = dir.join(path);
        let written = replace(&full, new.as_bytes());
        written.map_err(|error| ApplyError::Write(full, error))?;
    }
    Ok(())
}

/// By a file beside it, so that a kill in between leaves the old one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mode = fs::metadata(path)?.permissions();
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
