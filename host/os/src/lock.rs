//! Lock files: held as long as the process lives, also through `kill -9`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::OsError;

/// A lock that is held until it is dropped or the process dies. The file stays.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is locked by {}", .path.display(),
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}")))]
    Held {
        /// The file.
        path: PathBuf,
        /// The pid that the holder wrote into it.
        pid: Option<u32>,
    },
    /// Something else.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// Takes the lock and writes our pid into the file; never waits.
///
/// # Errors
/// [`LockError::Held`] when another process has it.
pub fn try_lock(path: &Path) -> Result<Lock, LockError> {
    let failed = |call, source| OsError::new(call, path.display(), source);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| failed("open", source))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(LockError::Held {
                path: path.to_owned(),
                pid: read_pid(&mut file),
            });
        }
        Err(source) => return Err(failed("flock", source.into()).into()),
    }
    let pid = std::process::id().to_string();
    // The pid is for people; a full disk must not keep Grace from starting.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(pid.as_bytes()));
    Ok(Lock { _file: file })
}

/// The pid that holds the lock; none when nobody does or it cannot be told.
#[must_use]
pub fn holder(path: &Path) -> Option<u32> {
    let mut file = File::open(path).ok()?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => read_pid(&mut file),
        _ => None,
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_is_free_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_lock(&path).unwrap();
        let me = std::process::id();
        assert!(
            matches!(try_lock(&path), Err(LockError::Held { pid: Some(pid), .. }) if pid == me)
        );
        assert_eq!(holder(&path), Some(me));
        drop(held);
        assert_eq!(holder(&path), None);
        try_lock(&path).unwrap();
    }
}
