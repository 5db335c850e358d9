//! Which file Grace's own processes are started from: the one that runs, until an upgrade has
//! chosen another. Knows nothing of how an upgrade goes.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use grace_model::layout::Layout;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What this process runs, also when its file was replaced or removed.
const SELF: &str = "/proc/self/exe";

/// A file as it is now, so that another one under the same name is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    /// Since 1970.
    modified_s: i64,
}

/// What a host's processes are started from, as `run/program.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// It.
    pub program: Program,
    /// Every process but the one in front runs it and is well: that one may become it too.
    pub settled: bool,
}

impl Program {
    /// The file at `path`, followed if it is a link.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(path, &fs::metadata(path)?))
    }

    fn of(path: &Path, meta: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.size(),
            modified_s: meta.mtime(),
        }
    }

    /// Whether the same file is still under its name.
    #[must_use]
    pub fn is_there(&self) -> bool {
        Self::at(&self.path).is_ok_and(|now| now == *self)
    }

    /// Whether both are one file, whatever their names.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }

    /// What a process runs; its path is the kernel's name for it. None: it is gone, or another
    /// user's.
    #[must_use]
    pub fn of_process(pid: u32) -> Option<Self> {
        let link = PathBuf::from(format!("/proc/{pid}/exe"));
        let meta = fs::metadata(&link).ok()?;
        let name = fs::read_link(&link).ok()?;
        Some(Self::of(&name, &meta))
    }
}

impl Chosen {
    /// None: none was chosen, or it cannot be read; then every process starts what it runs.
    #[must_use]
    pub fn read(layout: &Layout) -> Option<Self> {
        let path = layout.program();
        let bytes = fs::read(&path).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::error!(%error, "{} is damaged", path.display()))
            .ok()
    }

    /// Chooses it for every process that is started from now on.
    ///
    /// # Errors
    /// When it cannot be written down; then nothing has changed.
    pub fn write(&self, layout: &Layout) -> Result<(), Error> {
        let path = layout.program();
        let text = serde_json::to_vec(self).unwrap_or_default();
        // Root may upgrade another user's host; what is in it is no secret.
        grace_os::file::write_atomic(&path, &text, 0o644)?;
        Ok(())
    }

    /// Every process starts what it runs from now on.
    pub fn forget(layout: &Layout) {
        let _ = fs::remove_file(layout.program());
    }
}

/// The file to start the next process from. `own` is what this process was started from: when
/// another file has its name now, that one was never checked, and what runs goes on.
pub(crate) fn to_start(layout: &Layout, own: &Path) -> PathBuf {
    if let Some(chosen) = Chosen::read(layout).filter(|chosen| chosen.program.is_there()) {
        return chosen.program.path;
    }
    let running = Program::at(Path::new(SELF)).ok();
    let named = Program::at(own).ok();
    let replaced = match (&running, &named) {
        (Some(running), Some(named)) => !running.is_same(named),
        (running, None) => running.is_some(),
        (None, _) => false,
    };
    let is_ours = own_path().is_ok_and(|path| path == own);
    if replaced && is_ours {
        SELF.into()
    } else {
        own.to_owned()
    }
}

/// Where the program that runs was when it was started.
pub(crate) fn own_path() -> Result<PathBuf, Error> {
    let exe = std::env::current_exe().map_err(|source| Error::file(SELF, "reading it", source))?;
    let text = exe.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| exe.clone(), PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_started_as_long_as_it_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::create_dir(layout.run()).unwrap();
        let own = own_path().unwrap();
        assert_eq!(to_start(&layout, &own), own);
        let new = dir.path().join("new");
        fs::write(&new, "one").unwrap();
        let chosen = Chosen {
            program: Program::at(&new).unwrap(),
            settled: false,
        };
        chosen.write(&layout).unwrap();
        assert_eq!(to_start(&layout, &own), new);
        // Another file under its name was never checked.
        fs::write(dir.path().join("other"), "another").unwrap();
        fs::rename(dir.path().join("other"), &new).unwrap();
        assert_eq!(to_start(&layout, &own), own);
        fs::remove_file(&new).unwrap();
        assert_eq!(to_start(&layout, &own), own);
        fs::write(layout.program(), "{").unwrap();
        assert_eq!(to_start(&layout, &own), own);
        Chosen::forget(&layout);
        assert_eq!(Chosen::read(&layout), None);
    }

    #[test]
    fn the_program_of_a_process_is_known_by_its_file_not_by_its_name() {
        let me = Program::of_process(std::process::id()).unwrap();
        assert!(me.is_same(&Program::at(&own_path().unwrap()).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy");
        fs::copy(own_path().unwrap(), &copy).unwrap();
        assert!(!me.is_same(&Program::at(&copy).unwrap()));
        assert_eq!(Program::of_process(u32::MAX), None);
    }
}
