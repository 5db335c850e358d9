//! Capsules as files of one directory: written whole or not at all, readable by their owner only,
//! gone after their time. It never changes a capsule, and believes a file's content alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use grace_model::id::ServiceName;

use crate::capsule::Capsule;
use crate::format::{FormatError, Id, decode, encode};

/// How the files are called.
const ENDING: &str = "capsule";

/// The capsules of one host.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// A capsule and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its address.
    pub id: Id,
    /// Its file.
    pub path: PathBuf,
    /// The file's size.
    pub bytes: u64,
    /// What is in it.
    pub capsule: Capsule,
}

/// A file that is no capsule.
#[derive(Debug)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub error: StoreError,
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no capsule.
    #[error("{}: {source}", .path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: FormatError,
    },
    /// Nothing has this name.
    #[error("there is no capsule {name:?} in {}; `grace capsule list` names those that are", .dir.display())]
    Unknown {
        /// As it was given.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Several names begin so.
    #[error("{count} capsules begin with {name:?}; give more of the name")]
    Ambiguous {
        /// As it was given.
        name: String,
        /// How many.
        count: usize,
    },
}

impl Store {
    /// The capsules in `dir`, which need not exist yet.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the capsules are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a capsule. One with the same content is there once.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is left of it.
    pub fn add(&self, capsule: &Capsule) -> Result<Id, StoreError> {
        let (id, bytes) = encode(capsule).map_err(|source| StoreError::Format {
            path: self.dir.clone(),
            source,
        })?;
        self.write(&id, &bytes)?;
        Ok(id)
    }

    /// Takes the bytes of a capsule's file, checked.
    ///
    /// # Errors
    /// [`StoreError`]; `from` is named in it.
    pub fn import(&self, from: &Path, bytes: &[u8]) -> Result<(Id, Capsule), StoreError> {
        let (id, capsule) = decode(bytes).map_err(|source| StoreError::Format {
            path: from.to_owned(),
            source,
        })?;
        self.write(&id, bytes)?;
        Ok((id, capsule))
    }

    /// All capsules, oldest first, and what else is called like one.
    #[must_use]
    pub fn list(&self) -> (Vec<Entry>, Vec<Unreadable>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for path in self.files() {
            match read(&path) {
                Ok(entry) => good.push(entry),
                Err(error) => bad.push(Unreadable { path, error }),
            }
        }
        good.sort_by(|a, b| {
            let key = |it: &Entry| (it.capsule.made_at, it.id.name());
            key(a).cmp(&key(b))
        });
        (good, bad)
    }

    /// The capsule of a name, or of the beginning of one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(&self, name: &str) -> Result<Entry, StoreError> {
        let begins = |path: &PathBuf| {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            stem.is_some_and(|stem| {
                stem.starts_with(name) || stem.trim_start_matches("cap-").starts_with(name)
            })
        };
        let found: Vec<PathBuf> = self.files().into_iter().filter(begins).collect();
        match &found[..] {
            [only] if !name.is_empty() => read(only),
            [] | [_] => Err(StoreError::Unknown {
                name: name.to_owned(),
                dir: self.dir.clone(),
            }),
            several => Err(StoreError::Ambiguous {
                name: name.to_owned(),
                count: several.len(),
            }),
        }
    }

    /// Removes a service's capsules that are older than `keep_ms` at `now`, and the oldest beyond
    /// `keep`. Gives those that went.
    ///
    /// # Errors
    /// None: what cannot be removed goes at the next time.
    #[must_use]
    pub fn prune(&self, service: &ServiceName, keep_ms: u64, keep: u32, now: u64) -> Vec<Id> {
        let (all, _) = self.list();
        let own: Vec<Entry> = all
            .into_iter()
            .filter(|it| it.capsule.service == *service)
            .collect();
        let over = own.len().saturating_sub(keep as usize);
        own.into_iter()
            .enumerate()
            .filter(|(at, it)| *at < over || now.saturating_sub(it.capsule.made_at) > keep_ms)
            .filter(|(_, it)| fs::remove_file(&it.path).is_ok())
            .map(|(_, it)| it.id)
            .collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let inside = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = inside
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == ENDING))
            .collect();
        files.sort_unstable();
        files
    }

    fn write(&self, id: &Id, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(format!("{id}.{ENDING}"));
        let beside = self.dir.join(format!("{id}.new"));
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir);
        let written = made.and_then(|()| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&beside, &path)
        });
        written.map_err(|source| {
            // Half a file would only take space.
            let _ = fs::remove_file(&beside);
            StoreError::Io { path, source }
        })
    }
}

fn read(path: &Path) -> Result<Entry, StoreError> {
    let bytes = fs::read(path).map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })?;
    let (id, capsule) = decode(&bytes).map_err(|source| StoreError::Format {
        path: path.to_owned(),
        source,
    })?;
    Ok(Entry {
        id,
        path: path.to_owned(),
        bytes: bytes.len() as u64,
        capsule,
    })
}
