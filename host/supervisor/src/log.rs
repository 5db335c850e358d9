//! An instance's output: moved from its FIFO to rotated files inside the kernel, so that a
//! supervisor killed at any moment has taken nothing out of the one that is not in the other.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grace_os::{OsError, fifo};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::watch;

/// A file is put aside when it has grown beyond this.
const FILE_BYTES: u64 = 1024 * 1024;

/// Files kept beside the current one: `.1` to `.3`.
const ASIDE: u32 = 3;

/// Moved at once. As much as a FIFO of an ordinary user can hold.
const CHUNK: usize = 1024 * 1024;

/// Pause between two moves: a chatty worker costs a hundred wakeups a second, not thousands.
/// The FIFO is far larger than what comes meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Bytes of the last lines that are told with an exit.
const TAIL: u64 = 4 * 1024;

/// The files.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    /// Bytes that were thrown away because the disk was full.
    lost: u64,
}

/// The output of one instance.
#[derive(Debug)]
pub(crate) struct Output {
    fifo: Arc<AsyncFd<File>>,
    files: Arc<Mutex<Files>>,
    task: AbortHandle,
}

impl Output {
    /// Opens FIFO and files and begins to move.
    pub(crate) fn open(fifo_path: &Path, log: &Path) -> Result<Self, OsError> {
        fifo::make(fifo_path)?;
        let reader = fifo::open_reader(fifo_path)?;
        if let Err(error) = fifo::set_pipe_size(&reader, CHUNK) {
            tracing::debug!(%error, "the FIFO keeps its size");
        }
        let reader = watch::readable(reader)
            .map_err(|source| OsError::new("epoll", fifo_path.display(), source))?;
        let fifo = Arc::new(reader);
        let files = Files {
            path: log.to_owned(),
            file: None,
            size: 0,
            lost: 0,
        };
        let files = Arc::new(Mutex::new(files));
        let task = tokio::spawn(move_output(fifo.clone(), files.clone())).abort_handle();
        Ok(Self { fifo, files, task })
    }

    /// The FIFO, for the keeper to hold.
    pub(crate) fn reader(&self) -> &File {
        self.fifo.get_ref()
    }

    /// Moves what is there now and gives the last lines.
    pub(crate) fn tail(&self) -> String {
        let mut files = lock(&self.files);
        files.take(self.fifo.get_ref());
        files.tail()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.task.abort();
        lock(&self.files).take(self.fifo.get_ref());
    }
}

fn lock(files: &Mutex<Files>) -> std::sync::MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn move_output(fifo: Arc<AsyncFd<File>>, files: Arc<Mutex<Files>>) {
    loop {
        let Ok(mut ready) = fifo.readable().await else {
            return;
        };
        if lock(&files).take(fifo.get_ref()) {
            ready.clear_ready();
        }
        drop(ready);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Files {
    /// Moves until the FIFO is empty, which it says, or a few files' worth was moved.
    fn take(&mut self, fifo: &File) -> bool {
        let mut budget = 4 * FILE_BYTES;
        while budget > 0 {
            let moved = match self.current() {
                Ok(file) => fifo::splice_to_file(fifo, file, CHUNK).map(|count| count as u64),
                Err(source) => Err(OsError::new("open", self.path.display(), source)),
            };
            match moved {
                Ok(0) => return true,
                Ok(count) => {
                    self.size = self.size.saturating_add(count);
                    budget = budget.saturating_sub(count);
                    self.rotate();
                }
                Err(error) => {
                    // A full disk must not stop the worker that writes.
                    let lost = drain(fifo);
                    if lost == 0 {
                        return true;
                    }
                    if self.lost == 0 {
                        tracing::warn!(%error, "output of {} is lost", self.path.display());
                    }
                    self.lost = self.lost.saturating_add(lost);
                    budget = budget.saturating_sub(lost);
                }
            }
        }
        false
    }

    fn current(&mut self) -> std::io::Result<&File> {
        // A file that somebody removed is made anew.
        let removed = self.file.as_ref().is_some_and(|file| {
            use std::os::unix::fs::MetadataExt;
            file.metadata().map_or(true, |meta| meta.nlink() == 0)
        });
        if removed {
            self.file = None;
        }
        if self.file.is_none() {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)?;
            self.size = file.seek(SeekFrom::End(0))?;
            self.file = Some(file);
        }
        self.file
            .as_ref()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn rotate(&mut self) {
        if self.size < FILE_BYTES {
            return;
        }
        for number in (1..ASIDE).rev() {
            let _ = fs::rename(self.aside(number), self.aside(number + 1));
        }
        if fs::rename(&self.path, self.aside(1)).is_ok() {
            self.file = None;
            self.size = 0;
        }
        if self.lost > 0 {
            tracing::warn!(
                bytes = self.lost,
                "output of {} was lost",
                self.path.display()
            );
            self.lost = 0;
        }
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn tail(&mut self) -> String {
        let mut bytes = Vec::new();
        let previous = self.aside(1);
        if let Ok(file) = self.current() {
            bytes = last_bytes(file);
        }
        if bytes.is_empty()
            && let Ok(file) = File::open(previous)
        {
            bytes = last_bytes(&file);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Bounds the log of Grace's own processes, which all append to one open file: its content is
/// put aside and the file emptied.
pub(crate) fn bound_own(path: &Path) {
    let grown = fs::metadata(path).is_ok_and(|meta| meta.len() > 4 * FILE_BYTES);
    if !grown {
        return;
    }
    let aside = path.with_extension("log.1");
    let emptied = fs::copy(path, &aside)
        .and_then(|_| OpenOptions::new().write(true).open(path))
        .and_then(|file| file.set_len(0));
    if let Err(error) = emptied {
        tracing::warn!(%error, "{} grows", path.display());
    }
}

fn last_bytes(file: &File) -> Vec<u8> {
    let size = file.metadata().map_or(0, |meta| meta.len());
    let from = size.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(size - from).unwrap_or(0)];
    if file.read_exact_at(&mut bytes, from).is_err() {
        return Vec::new();
    }
    // Whole lines only, unless there is just one.
    if from > 0
        && let Some(end) = bytes.iter().position(|byte| *byte == b'\n')
        && end + 1 < bytes.len()
    {
        bytes.drain(..=end);
    }
    bytes
}

fn drain(mut fifo: &File) -> u64 {
    let mut bytes = vec![0; 64 * 1024];
    fifo.read(&mut bytes).map_or(0, |count| count as u64)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(fifo_path: &Path, text: &str) {
        let writer = fifo::open_writer(fifo_path).unwrap();
        File::from(writer).write_all(text.as_bytes()).unwrap();
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn the_last_lines_are_whole_lines_and_few() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, log) = (dir.path().join("fifo"), dir.path().join("shop-1.log"));
        runtime().block_on(async {
            let output = Output::open(&fifo, &log).unwrap();
            let text: String = (0..2_000)
                .map(|number| format!("line {number}\n"))
                .collect();
            lines(&fifo, &text);
            let tail = output.tail();
            assert!(
                tail.len() <= 4 * 1024 && tail.starts_with("line "),
                "{tail}"
            );
            assert!(tail.ends_with("line 1999\n"), "{tail}");
            assert_eq!(fs::read_to_string(&log).unwrap(), text);
        });
    }

    #[test]
    fn a_log_that_cannot_be_written_stops_no_worker() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        runtime().block_on(async {
            // A device without room, as a full disk.
            let output = Output::open(&fifo, Path::new("/dev/full")).unwrap();
            for _ in 0..4 {
                // More than a FIFO holds: it returns only if what is inside is taken out.
                lines(&fifo, &"x".repeat(512 * 1024));
                output.tail();
            }
            assert!(lock(&output.files).lost >= 4 * 512 * 1024);
        });
    }

    #[test]
    fn a_log_that_somebody_removed_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, log) = (dir.path().join("fifo"), dir.path().join("shop-1.log"));
        runtime().block_on(async {
            let output = Output::open(&fifo, &log).unwrap();
            lines(&fifo, "one\n");
            output.tail();
            fs::remove_file(&log).unwrap();
            lines(&fifo, "two\n");
            assert_eq!(output.tail(), "two\n");
            assert_eq!(fs::read_to_string(&log).unwrap(), "two\n");
        });
    }

    #[test]
    fn graces_own_log_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("grace.log");
        fs::write(&log, vec![b'x'; 5 << 20]).unwrap();
        bound_own(&log);
        assert_eq!(fs::metadata(&log).unwrap().len(), 0);
        let aside = dir.path().join("grace.log.1");
        assert_eq!(fs::metadata(aside).unwrap().len(), 5 << 20);
    }
}
