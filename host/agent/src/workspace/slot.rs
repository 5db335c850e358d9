//! One copy of the directory, put back to the original between runs. Knows which files it holds
//! and nothing of what is tried in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scan::{Entry, Scan};

/// What builds fill and what is too large to look through after every run.
const BUILDS: [&str; 4] = ["target", "node_modules", ".venv", "venv"];

/// A copy.
#[derive(Debug)]
pub struct Slot {
    dir: PathBuf,
    original: PathBuf,
    /// Size and time of change of each file as it was laid down.
    laid: BTreeMap<PathBuf, (u64, i64, i64)>,
}

impl Slot {
    /// Copies what was scanned from `original` to `dir`, which must not exist.
    ///
    /// # Errors
    /// What the file system says.
    pub fn copy(original: &Path, dir: PathBuf, scan: &Scan) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        for entry in &scan.entries {
            match entry {
                Entry::Dir(path) => fs::create_dir_all(dir.join(path))?,
                Entry::File(path, mode) => {
                    let to = dir.join(path);
                    fs::copy(original.join(path), &to)?;
                    // The owner must be able to put it back.
                    fs::set_permissions(&to, fs::Permissions::from_mode(mode | 0o600))?;
                }
                Entry::Link(path, says) => symlink(says, dir.join(path))?,
            }
        }
        let mut slot = Self {
            dir,
            original: original.to_owned(),
            laid: BTreeMap::new(),
        };
        for (path, stamp) in slot.stamps() {
            slot.laid.insert(path, stamp);
        }
        Ok(slot)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a text, which counts as a change to be undone.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path, text: &Arc<str>) -> io::Result<()> {
        let to = self.dir.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(to, text.as_bytes())
    }

    /// Puts everything back that a candidate or the command has changed, but for builds.
    ///
    /// # Errors
    /// What the file system says; then the copy must not be used any more.
    pub fn restore(&mut self) -> io::Result<()> {
        let now = self.stamps();
        for path in now.keys() {
            if !self.laid.contains_key(path) {
                fs::remove_file(self.dir.join(path))?;
            }
        }
        let changed: Vec<PathBuf> = self
            .laid
            .iter()
            .filter(|(path, stamp)| now.get(*path) != Some(stamp))
            .map(|(path, _)| path.clone())
            .collect();
        for path in changed {
            let to = self.dir.join(&path);
            let from = self.original.join(&path);
            let meta = fs::symlink_metadata(&from)?;
            if to.is_dir() && !to.is_symlink() {
                fs::remove_dir_all(&to)?;
            }
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            if meta.is_symlink() {
                let _ = fs::remove_file(&to);
                symlink(fs::read_link(&from)?, &to)?;
            } else {
                // A new file, so that its time is now and builds see the change.
                let _ = fs::remove_file(&to);
                fs::write(&to, fs::read(&from)?)?;
                fs::set_permissions(
                    &to,
                    fs::Permissions::from_mode(meta.permissions().mode() | 0o600),
                )?;
            }
            if let Ok(meta) = fs::symlink_metadata(&to) {
                self.laid.insert(path, stamp(&meta));
            }
        }
        Ok(())
    }

    fn stamps(&self) -> BTreeMap<PathBuf, (u64, i64, i64)> {
        let mut found = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(below) = open.pop() {
            let Ok(entries) = fs::read_dir(self.dir.join(&below)) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let path = below.join(&name);
                let Ok(meta) = entry.metadata() else {
                    continue;
                };
                if meta.is_dir() {
                    if !BUILDS.iter().any(|build| name == *build) {
                        open.push(path);
                    }
                } else {
                    found.insert(path, stamp(&meta));
                }
            }
        }
        found
    }
}

fn stamp(meta: &fs::Metadata) -> (u64, i64, i64) {
    (meta.len(), meta.mtime(), meta.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::scan;

    #[test]
    fn what_a_run_wrote_changed_or_deleted_is_put_back() {
        let room = tempfile::tempdir().unwrap();
        let original = room.path().join("a");
        fs::create_dir(&original).unwrap();
        fs::write(original.join("x.py"), "old").unwrap();
        fs::write(original.join("data.json"), "{}").unwrap();
        symlink("x.py", original.join("link")).unwrap();
        let found = scan(&original).unwrap();
        let mut slot = Slot::copy(&original, room.path().join("b"), &found).unwrap();
        slot.write(Path::new("x.py"), &"new".into()).unwrap();
        fs::remove_file(slot.dir().join("data.json")).unwrap();
        fs::remove_file(slot.dir().join("link")).unwrap();
        fs::write(slot.dir().join("made.txt"), "by the test").unwrap();
        slot.restore().unwrap();
        let read = |name: &str| fs::read_to_string(slot.dir().join(name));
        assert_eq!(read("x.py").unwrap(), "old");
        assert_eq!(read("data.json").unwrap(), "{}");
        assert_eq!(read("link").unwrap(), "old");
        assert!(read("made.txt").is_err());
        // Once more: nothing is left to do.
        slot.restore().unwrap();
    }
}
