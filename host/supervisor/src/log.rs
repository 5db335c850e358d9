//! An instance's output as the supervisor has it: moved from its FIFO while it runs, and the
//! log of Grace's own processes kept within its bound.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grace_os::{OsError, fifo};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::files::{CHUNK, FILE_BYTES, Files};
use crate::watch;

/// Pause between two moves: a chatty worker costs a hundred wakeups a second, not thousands.
/// The FIFO is far larger than what comes meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Bytes of the last lines that are told with an exit.
const TAIL: usize = 4 * 1024;

/// The output of one instance.
#[derive(Debug)]
pub(crate) struct Output {
    fifo: Arc<AsyncFd<File>>,
    files: Arc<Mutex<Files>>,
    task: AbortHandle,
}

/// What memory holds of an output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    /// Whole lines, unless there is just one.
    pub text: String,
    /// Bytes that came before and are not held.
    pub dropped: u64,
    /// How many of the newest bytes are in no file.
    pub unsaved: u64,
}

impl Output {
    /// Opens FIFO and files and begins to move; keeps the newest `ring` bytes in memory.
    pub(crate) fn open(fifo_path: &Path, log: &Path, ring: usize) -> Result<Self, OsError> {
        fifo::make(fifo_path)?;
        let reader = fifo::open_reader(fifo_path)?;
        if let Err(error) = fifo::set_pipe_size(&reader, CHUNK) {
            tracing::debug!(%error, "the FIFO keeps its size");
        }
        let reader = watch::readable(reader)
            .map_err(|source| OsError::new("epoll", fifo_path.display(), source))?;
        let fifo = Arc::new(reader);
        let files = Arc::new(Mutex::new(Files::new(log, ring)));
        let task = tokio::spawn(move_output(fifo.clone(), files.clone())).abort_handle();
        Ok(Self { fifo, files, task })
    }

    /// The FIFO, for the keeper to hold.
    pub(crate) fn reader(&self) -> &File {
        self.fifo.get_ref()
    }

    /// Moves what is there now and gives the last lines, as an exit tells them.
    pub(crate) fn tail(&self) -> String {
        let mut files = lock(&self.files);
        files.take(self.fifo.get_ref());
        String::from_utf8_lossy(&files.ring().tail(TAIL)).into_owned()
    }

    /// The same, all that memory holds.
    pub(crate) fn newest(&self) -> Newest {
        let mut files = lock(&self.files);
        files.take(self.fifo.get_ref());
        let tail = files.ring().tail(files.ring().most());
        Newest {
            text: String::from_utf8_lossy(&tail).into_owned(),
            dropped: files.ring().dropped(),
            unsaved: files.unsaved(),
        }
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const RING: usize = 64 * 1024;

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
            let output = Output::open(&fifo, &log, RING).unwrap();
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
            let output = Output::open(&fifo, Path::new("/dev/full"), RING).unwrap();
            for _ in 0..4 {
                // More than a FIFO holds: it returns only if what is inside is taken out.
                lines(&fifo, &"x".repeat(512 * 1024));
                output.tail();
            }
            lines(&fifo, "last words\n");
            let newest = output.newest();
            assert_eq!(newest.unsaved, 4 * 512 * 1024 + 11);
            // Memory has what the disk has not.
            assert!(newest.text.ends_with("xlast words\n"));
        });
    }

    #[test]
    fn what_could_not_be_written_is_counted_kept_in_memory_and_told_where_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, log) = (dir.path().join("fifo"), dir.path().join("shop-1.log"));
        runtime().block_on(async {
            let output = Output::open(&fifo, &log, RING).unwrap();
            lines(&fifo, "one\n");
            assert_eq!(output.newest().unsaved, 0);
            // No file can be written in the place of a directory.
            fs::remove_file(&log).unwrap();
            fs::create_dir(&log).unwrap();
            lines(&fifo, "two\nthree\n");
            let newest = output.newest();
            assert_eq!(newest.text, "one\ntwo\nthree\n");
            assert_eq!((newest.dropped, newest.unsaved), (0, 10));
            fs::remove_dir(&log).unwrap();
            lines(&fifo, "four\n");
            let newest = output.newest();
            assert_eq!(newest.text, "one\ntwo\nthree\nfour\n");
            assert_eq!(newest.unsaved, 0);
            let text = fs::read_to_string(&log).unwrap();
            let told = "grace: 10 bytes of output are missing here, they could not be written\n";
            assert_eq!(text, format!("{told}four\n"));
        });
    }

    #[test]
    fn memory_is_bounded_counts_what_it_lets_go_and_is_filled_from_the_files_again() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, log) = (dir.path().join("fifo"), dir.path().join("shop-1.log"));
        // Beyond the first rotation, so that a little is in the current file and the rest aside.
        let text: String = (0..102_000).map(|n| format!("line {n:06}\n")).collect();
        runtime().block_on(async {
            let output = Output::open(&fifo, &log, RING).unwrap();
            for piece in text.as_bytes().chunks(200_000) {
                lines(&fifo, str::from_utf8(piece).unwrap());
                output.tail();
            }
            let newest = output.newest();
            assert_eq!(newest.text.len(), RING / 12 * 12);
            assert!(newest.text.ends_with("line 101999\n"));
            assert_eq!(newest.dropped as usize, text.len() - RING);
            drop(output);
            assert_eq!(fs::metadata(&log).unwrap().len(), 24_000);
            // As after the death of a supervisor.
            let again = Output::open(&fifo, &log, RING).unwrap().newest();
            assert_eq!((again.text, again.dropped), (newest.text, newest.dropped));
        });
    }

    #[test]
    fn the_last_words_reach_over_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, log) = (dir.path().join("fifo"), dir.path().join("shop-1.log"));
        runtime().block_on(async {
            let output = Output::open(&fifo, &log, RING).unwrap();
            for _ in 0..4 {
                lines(&fifo, &"x".repeat(262_125));
                output.tail();
            }
            lines(
                &fifo,
                "\nwhy it died: no licence, and that is more than one file holds\n12345678901234\n",
            );
            output.tail();
            assert_eq!(fs::metadata(&log).map_or(0, |meta| meta.len()), 0);
            lines(&fifo, "bye\n");
            let tail = output.tail();
            assert!(
                tail.contains("why it died") && tail.ends_with("bye\n"),
                "{tail}"
            );
        });
    }

    #[test]
    fn a_log_that_somebody_removed_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, log) = (dir.path().join("fifo"), dir.path().join("shop-1.log"));
        runtime().block_on(async {
            let output = Output::open(&fifo, &log, RING).unwrap();
            lines(&fifo, "one\n");
            output.tail();
            fs::remove_file(&log).unwrap();
            lines(&fifo, "two\n");
            assert_eq!(output.tail(), "one\ntwo\n");
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
