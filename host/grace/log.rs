//! Where Grace's own processes write what they do: `logs/grace.log`, bounded. Several processes
//! append to it, so each looks now and then whether another has put the file aside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variable that says how much is written, such as `debug` or `grace_proxy=debug`.
const VARIABLE: &str = "GRACE_LOG";
/// A file is put aside as `.1` when it is longer than this.
const LONGEST: u64 = 8 << 20;
/// Lines between two looks at the file's length and place.
const LOOK_EVERY: u32 = 64;

/// To the file, for a process that runs on its own. Without a file to write, to standard error.
pub fn to_file(path: &Path, process: &'static str) {
    let filter = filter();
    match Rotated::open(path) {
        Ok(rotated) => {
            let writer = Named {
                process,
                to: Mutex::new(rotated),
            };
            let builder = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_env_filter(filter);
            let _ = builder.with_writer(writer).try_init();
        }
        Err(error) => {
            to_stderr();
            tracing::warn!(%error, "{} cannot be written", path.display());
        }
    }
}

/// To standard error, for commands: warnings only unless asked.
pub fn to_stderr() {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("error"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = builder.try_init();
}

fn filter() -> EnvFilter {
    EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// A file that is put aside when it is long.
struct Rotated {
    path: PathBuf,
    file: File,
    lines: u32,
}

impl Rotated {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            lines: 0,
        })
    }

    fn write_line(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.lines = self.lines.wrapping_add(1);
        if self.lines.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        self.file.write_all(bytes)
    }

    /// Follows the file, and puts it aside when it is long. A failure leaves things as they are.
    fn look(&mut self) {
        let own = self.file.metadata().map(|meta| meta.ino()).ok();
        let there = fs::metadata(&self.path).ok();
        let same = there.as_ref().map(MetadataExt::ino) == own;
        let long = there.is_some_and(|meta| meta.len() > LONGEST);
        if same && !long {
            return;
        }
        if same {
            let mut aside = self.path.as_os_str().to_owned();
            aside.push(".1");
            if fs::rename(&self.path, aside).is_err() {
                return;
            }
        }
        if let Ok(next) = Self::open(&self.path) {
            self.file = next.file;
        }
    }
}

/// Puts the process's name before each line.
struct Named {
    process: &'static str,
    to: Mutex<Rotated>,
}

struct Line<'a> {
    named: &'a Named,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Named {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            named: self,
            bytes: format!("{} ", self.process).into_bytes(),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // One write a line, so that processes do not mix theirs. A full disk loses lines only.
        let mut to = self.named.to.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = to.write_line(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_put_aside_and_followed_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grace.log");
        let mut one = Rotated::open(&path).unwrap();
        let mut other = Rotated::open(&path).unwrap();
        one.file.set_len(LONGEST + 1).unwrap();
        one.look();
        one.write_line(b"new\n").unwrap();
        other.look();
        other.write_line(b"too\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\ntoo\n");
        assert_eq!(
            fs::metadata(dir.path().join("grace.log.1")).unwrap().len(),
            LONGEST + 1
        );
    }
}
