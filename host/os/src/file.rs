//! Files that are whole or absent, and the room left for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{OsError, Result};

/// Replaces a file so that a reader, and a machine that loses its power, sees the old or the
/// new content and nothing between. `mode` is for the new file.
///
/// # Errors
/// [`OsError`]; the old file is untouched then.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = Path::new(&beside);
    let result = write_synced(beside, bytes, mode).and_then(|()| {
        fs::rename(beside, path).map_err(|source| OsError::new("rename", path.display(), source))
    });
    if result.is_err() {
        let _ = fs::remove_file(beside);
        return result;
    }
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let failed = |call, source| OsError::new(call, path.display(), source);
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("unlink", error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|source| failed("open", source))?;
    file.write_all(bytes)
        .map_err(|source| failed("write", source))?;
    file.sync_all().map_err(|source| failed("fsync", source))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`OsError`].
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| OsError::new("fsync", path.display(), source))
}

/// What a file system may still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of content.
    pub bytes: u64,
    /// Files; none where the file system has no bound on them.
    pub files: Option<u64>,
}

/// What the file system of `path` still takes from the owner of `path`: root has what is kept back
/// from everybody else.
///
/// # Errors
/// [`OsError`].
pub fn room(path: &Path) -> Result<Room> {
    let error = |source: io::Error| OsError::new("statvfs", path.display(), source);
    let owner = fs::metadata(path).map_err(error)?.uid();
    let stat = rustix::fs::statvfs(path).map_err(|errno| error(errno.into()))?;
    let (blocks, files) = if owner == 0 {
        (stat.f_bfree, stat.f_ffree)
    } else {
        (stat.f_bavail, stat.f_favail)
    };
    Ok(Room {
        bytes: blocks.saturating_mul(stat.f_frsize),
        files: (stat.f_files > 0).then_some(files),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grants.toml");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        assert!(write_atomic(&path, b"two", 0o600).is_err());
        assert!(path.join("inside").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_room_of_a_file_system_is_told() {
        assert!(room(Path::new("/tmp")).unwrap().bytes > 0);
        assert!(room(Path::new("/no/such/dir")).unwrap_err().is_absent());
    }
}
