//! Files that are whole or absent, and the room left for them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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

/// Bytes that an ordinary user may still write to the file system of `path`.
///
/// # Errors
/// [`OsError`].
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|source| OsError::new("statvfs", path.display(), source))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
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
    fn free_bytes_are_told() {
        assert!(free_bytes(Path::new("/tmp")).unwrap() > 0);
        assert!(
            free_bytes(Path::new("/no/such/dir"))
                .unwrap_err()
                .is_absent()
        );
    }
}
