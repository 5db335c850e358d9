//! Reading the directory once: every entry for the copies, and the texts that may be changed.
//! Links are never followed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lang::Lang;

/// All files together, in bytes. What is larger is no service's source.
const MOST_BYTES: u64 = 512 << 20;
/// Entries.
const MOST_ENTRIES: usize = 50_000;
/// A larger text is copied and never changed: a tree of it would cost more than it can give.
const MOST_TEXT: u64 = 1 << 20;

/// What caches and histories are called; they are not copied.
const SKIPPED: [&str; 7] = [
    ".git",
    ".hg",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".grace",
];
/// Folders of other people's code: copied, and never changed.
const FOREIGN: [&str; 6] = [
    "node_modules",
    ".venv",
    "venv",
    "vendor",
    "site-packages",
    "third_party",
];

/// One entry, below the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Dir(PathBuf),
    /// A file and its permissions.
    File(PathBuf, u32),
    /// A symbolic link and what it says.
    Link(PathBuf, PathBuf),
}

/// The directory as it was.
#[derive(Debug, Default)]
pub struct Scan {
    /// Folders before what is in them.
    pub entries: Vec<Entry>,
    /// What the search may look at, in order of paths.
    pub texts: Vec<(PathBuf, Arc<str>)>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Why the directory cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It, or something in it, cannot be read.
    #[error("{} cannot be read: {}: check the path and its permissions", .0.display(), .1)]
    Unreadable(PathBuf, std::io::Error),
    /// It is no directory.
    #[error("{} is no directory: name the directory that holds the source", .0.display())]
    NoDirectory(PathBuf),
    /// There is too much in it.
    #[error(
        "{} holds more than {}: name the directory of the one service, without data and builds",
        .0.display(), .1
    )]
    TooLarge(PathBuf, &'static str),
}

/// Reads a directory.
///
/// # Errors
/// [`ScanError`].
pub fn scan(dir: &Path) -> Result<Scan, ScanError> {
    let meta = fs::metadata(dir).map_err(|e| ScanError::Unreadable(dir.to_owned(), e))?;
    if !meta.is_dir() {
        return Err(ScanError::NoDirectory(dir.to_owned()));
    }
    let mut out = Scan::default();
    let mut bytes = 0;
    folder(dir, Path::new(""), false, &mut out, &mut bytes)?;
    out.texts.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

fn folder(
    top: &Path,
    below: &Path,
    foreign: bool,
    out: &mut Scan,
    bytes: &mut u64,
) -> Result<(), ScanError> {
    let full = top.join(below);
    let unreadable = |error| ScanError::Unreadable(full.clone(), error);
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(&full)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = below.join(&name);
        let kind = entry.file_type().map_err(unreadable)?;
        if out.entries.len() > MOST_ENTRIES {
            return Err(ScanError::TooLarge(top.to_owned(), "50,000 files"));
        }
        if kind.is_symlink() {
            link(top, &path, out)?;
        } else if kind.is_dir() {
            let build = name == "target" && full.join("Cargo.toml").exists();
            if build || SKIPPED.iter().any(|skip| name == *skip) {
                continue;
            }
            out.entries.push(Entry::Dir(path.clone()));
            let foreign = foreign || FOREIGN.iter().any(|one| name == *one);
            folder(top, &path, foreign, out, bytes)?;
        } else if kind.is_file() {
            let meta = entry.metadata().map_err(unreadable)?;
            *bytes += meta.len();
            if *bytes > MOST_BYTES {
                return Err(ScanError::TooLarge(top.to_owned(), "512 MiB"));
            }
            let mode = meta.permissions().mode() & 0o777;
            out.entries.push(Entry::File(path.clone(), mode));
            if !foreign {
                text(top, path, meta.len(), out)?;
            }
        }
        // Sockets, pipes and devices are nobody's source.
    }
    Ok(())
}

/// A link is copied as it is. One that leads out is told: what is behind it is not copied, and
/// can be read but not written by the command.
fn link(top: &Path, path: &Path, out: &mut Scan) -> Result<(), ScanError> {
    let full = top.join(path);
    let says = fs::read_link(&full).map_err(|error| ScanError::Unreadable(full.clone(), error))?;
    let inside = fs::canonicalize(top)
        .ok()
        .zip(fs::canonicalize(&full).ok())
        .is_some_and(|(top, target)| target.starts_with(top));
    if !inside {
        out.notes.push(format!(
            "{} is a link that leads out, to {}: it is never followed or changed",
            path.display(),
            says.display()
        ));
    }
    out.entries.push(Entry::Link(path.to_owned(), says));
    Ok(())
}

fn text(top: &Path, path: PathBuf, size: u64, out: &mut Scan) -> Result<(), ScanError> {
    let source = Lang::of(&path).is_some();
    if size > MOST_TEXT {
        if source {
            out.notes.push(format!(
                "{} has {size} bytes, more than {MOST_TEXT}: it is never changed",
                path.display()
            ));
        }
        return Ok(());
    }
    let full = top.join(&path);
    let mut bytes = Vec::new();
    fs::File::open(&full)
        .and_then(|file| file.take(MOST_TEXT + 1).read_to_end(&mut bytes))
        .map_err(|error| ScanError::Unreadable(full, error))?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => out.texts.push((path, text.into())),
        _ if source => out.notes.push(format!(
            "{} is not text in UTF-8: it is never changed",
            path.display()
        )),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_binary_or_leads_out_is_told_and_is_no_text() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("big.py"), vec![b'#'; 10 << 20]).unwrap();
        fs::write(at("binary.py"), b"a\0b").unwrap();
        fs::write(at("good.py"), "x = 1\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("out.py")).unwrap();
        std::os::unix::fs::symlink("good.py", at("in.py")).unwrap();
        fs::create_dir(at(".git")).unwrap();
        fs::write(at(".git/config"), "x").unwrap();
        let found = scan(dir.path()).unwrap();
        assert_eq!(found.texts.len(), 1, "{:?}", found.texts);
        let notes = found.notes.join("\n");
        for name in ["big.py", "binary.py", "out.py"] {
            assert!(notes.contains(name), "{notes}");
        }
        assert!(!notes.contains("in.py is"), "{notes}");
        assert_eq!(found.entries.len(), 5);
    }

    #[test]
    fn a_missing_directory_and_a_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, "").unwrap();
        assert!(matches!(scan(&file), Err(ScanError::NoDirectory(_))));
        let none = dir.path().join("none");
        assert!(matches!(scan(&none), Err(ScanError::Unreadable(..))));
    }
}
