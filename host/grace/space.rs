//! Whether the file system of the state directory has room, and what a person can do when it has
//! none. It looks at the file system as it is now; it knows neither the host nor who asks.

use std::path::{Path, PathBuf};

use grace_os::OsError;
use grace_os::file::{self, Room};
use serde::Serialize;

/// Below this many bytes the disk counts as full: one transaction of the ledger with its log, or
/// one segment of a journal, may no longer fit.
const FULL: u64 = 1 << 20;
/// Below this many bytes a disk is short.
const LITTLE: u64 = 256 << 20;

/// A file system's room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    path: PathBuf,
    room: Room,
}

/// Something about the host that a person should see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Its kind, for programs: `disk-full`.
    pub kind: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What is wrong, with the path.
    pub what: String,
    /// What it costs, and what helps.
    pub remedy: String,
}

impl Space {
    /// Looks at the file system of `dir`, or of the directory that it will be made in.
    ///
    /// # Errors
    /// [`OsError`] when the system does not say.
    pub fn look(dir: &Path) -> Result<Self, OsError> {
        let path = dir
            .ancestors()
            .find(|path| path.is_dir())
            .unwrap_or(Path::new("/"));
        Ok(Self {
            path: path.to_owned(),
            room: file::room(path)?,
        })
    }

    /// Bytes that can still be written.
    pub fn bytes(&self) -> u64 {
        self.room.bytes
    }

    /// Whether it is worth a word, full or not.
    pub fn is_little(&self) -> bool {
        self.room.bytes < LITTLE || self.trouble().is_some()
    }

    /// That it is full, if it is.
    pub fn trouble(&self) -> Option<Trouble> {
        let left = if self.room.files == Some(0) {
            "no file can be added".to_owned()
        } else if self.room.bytes < FULL {
            format!("{} KiB left", self.room.bytes >> 10)
        } else {
            return None;
        };
        let path = self.path.display();
        Some(Trouble {
            kind: "disk-full",
            path: self.path.clone(),
            what: format!("the disk of {path} is full ({left})"),
            remedy: format!(
                "traffic and restarts go on, but no healing and no history: free some space on the file system \
                 of {path} (`df {path}`, `du -xh {path}`); nothing has to be restarted"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(bytes: u64, files: Option<u64>) -> Space {
        Space {
            path: "/srv/state".into(),
            room: Room { bytes, files },
        }
    }

    #[test]
    fn a_disk_without_bytes_or_without_files_is_full_and_a_short_one_is_not() {
        let full = space(FULL - 1, Some(9)).trouble().unwrap();
        assert_eq!(full.kind, "disk-full");
        assert!(full.what.contains("/srv/state") && full.remedy.contains("free some space"));
        assert!(space(u64::MAX, Some(0)).trouble().is_some());
        assert!(space(u64::MAX, Some(0)).is_little());
        assert_eq!(space(FULL, None).trouble(), None);
        assert!(space(FULL, None).is_little());
        assert!(!space(LITTLE, Some(1)).is_little());
    }

    #[test]
    fn a_directory_that_is_still_to_be_made_is_looked_at_where_it_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::look(&dir.path().join("a/b")).unwrap();
        assert_eq!(space.path, dir.path());
        assert!(space.bytes() > 0);
    }
}
