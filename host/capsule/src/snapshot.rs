//! Copies of data directories: taken when a capsule is made, and copied again for each replay.
//! Files, directories and links with their modes, never through a link. The copy's name is its
//! content, so that two capsules over the same data share one.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Instant;

use crate::capsule::Snapshot;

/// A directory deeper than this is not copied: no program's data is.
const DEPTH: u32 = 64;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It holds more than may be copied.
    #[error(
        "the data directory holds more than {limit} bytes; raise `record.snapshot` of the service"
    )]
    TooLarge {
        /// What may be copied.
        limit: u64,
    },
    /// The file system.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Copies all of `from` into `to`, which exists; `each` is told every new file, directory and
/// link. What is none of these (a socket, a pipe) is left out. Gives files and bytes.
///
/// # Errors
/// [`SnapshotError`]; what was copied by then stays.
pub fn copy_tree(
    from: &Path,
    to: &Path,
    limit: u64,
    each: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> Result<(u64, u64), SnapshotError> {
    let mut work = Copying {
        limit,
        files: 0,
        bytes: 0,
        hasher: blake3::Hasher::new(),
        each,
    };
    work.dir(from, to, 0)?;
    Ok((work.files, work.bytes))
}

/// Copies the data directory `from` below `snapshots`. `while_running` is written down.
///
/// # Errors
/// [`SnapshotError`]; nothing is left then.
pub fn take(
    from: &Path,
    snapshots: &Path,
    limit: u64,
    while_running: bool,
) -> Result<Snapshot, SnapshotError> {
    let begun = Instant::now();
    let private = |path: &Path| {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
    };
    private(snapshots)?;
    let beside = snapshots.join(".new");
    // Of one that was killed in the middle; only one process makes snapshots.
    let _ = fs::remove_dir_all(&beside);
    private(&beside)?;
    let mut work = Copying {
        limit,
        files: 0,
        bytes: 0,
        hasher: blake3::Hasher::new(),
        each: &mut |_| Ok(()),
    };
    let copied = work.dir(from, &beside, 0);
    let (files, bytes) = (work.files, work.bytes);
    let hash = work.hasher.finalize().to_hex();
    let id = format!("snap-{}", hash.get(..16).unwrap_or_default());
    let there = snapshots.join(&id);
    let done = copied.and_then(|()| {
        if there.is_dir() {
            fs::remove_dir_all(&beside)?;
        } else {
            fs::rename(&beside, &there)?;
        }
        Ok(())
    });
    if let Err(error) = done {
        let _ = fs::remove_dir_all(&beside);
        return Err(error);
    }
    Ok(Snapshot {
        id,
        files,
        bytes,
        took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        while_running,
    })
}

struct Copying<'a> {
    limit: u64,
    files: u64,
    bytes: u64,
    hasher: blake3::Hasher,
    each: &'a mut dyn FnMut(&Path) -> io::Result<()>,
}

impl Copying<'_> {
    fn dir(&mut self, from: &Path, to: &Path, depth: u32) -> Result<(), SnapshotError> {
        if depth > DEPTH {
            return Err(io::Error::other("its directories are too deep").into());
        }
        let mut names: Vec<_> = fs::read_dir(from)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort_unstable();
        for name in names {
            let (source, target) = (from.join(&name), to.join(&name));
            let meta = match fs::symlink_metadata(&source) {
                Ok(meta) => meta,
                // Its process runs on.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let mut note = |kind: &str, what: &[u8]| {
                let path = name.as_encoded_bytes();
                let head = format!(
                    "{kind} {depth} {:o} {} {}\n",
                    meta.mode(),
                    path.len(),
                    what.len()
                );
                for part in [head.as_bytes(), path, what] {
                    self.hasher.update(part);
                }
            };
            if meta.is_symlink() {
                let leads = fs::read_link(&source)?;
                note("link", leads.as_os_str().as_encoded_bytes());
                symlink(leads, &target)?;
                (self.each)(&target)?;
                continue;
            }
            if meta.is_dir() {
                note("dir", b"");
                fs::DirBuilder::new().mode(0o700).create(&target)?;
                self.dir(&source, &target, depth + 1)?;
            } else if meta.is_file() {
                self.bytes = self.bytes.saturating_add(meta.len());
                if self.bytes > self.limit {
                    return Err(SnapshotError::TooLarge { limit: self.limit });
                }
                self.files += 1;
                fs::copy(&source, &target)?;
                let hash = blake3::Hasher::new()
                    .update_reader(fs::File::open(&target)?)?
                    .finalize();
                note("file", hash.as_bytes());
            } else {
                continue;
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
            (self.each)(&target)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(dir: &Path) {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/file"), "data").unwrap();
        fs::write(dir.join("script"), "#!/bin/sh").unwrap();
        fs::set_permissions(dir.join("script"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("/etc/passwd", dir.join("link")).unwrap();
    }

    #[test]
    fn a_snapshot_is_the_directory_with_modes_and_links_and_is_named_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let (data, snapshots) = (dir.path().join("data"), dir.path().join("snapshots"));
        fill(&data);
        let first = take(&data, &snapshots, 1 << 20, false).unwrap();
        assert_eq!((first.files, first.bytes), (2, 13));
        let copy = snapshots.join(&first.id);
        assert_eq!(fs::read_to_string(copy.join("a/b/file")).unwrap(), "data");
        let mode = fs::metadata(copy.join("script"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o750);
        assert_eq!(
            fs::read_link(copy.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        let again = take(&data, &snapshots, 1 << 20, true).unwrap();
        assert_eq!(again.id, first.id);
        fs::write(data.join("a/b/file"), "DATA").unwrap();
        let other = take(&data, &snapshots, 1 << 20, true).unwrap();
        assert_ne!(other.id, first.id);
        // The one before did not change with it.
        assert_eq!(fs::read_to_string(copy.join("a/b/file")).unwrap(), "data");
        assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_that_is_too_large_is_told_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (data, snapshots) = (dir.path().join("data"), dir.path().join("snapshots"));
        fill(&data);
        let error = take(&data, &snapshots, 12, false).unwrap_err();
        assert!(error.to_string().contains("record.snapshot"), "{error}");
        assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 0);
        assert!(take(&dir.path().join("none"), &snapshots, 12, false).is_err());
    }
}
