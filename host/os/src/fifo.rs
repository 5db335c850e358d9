//! FIFOs that outlive both of their ends' processes: opened for reading and writing, so that
//! no end ever sees the other's death (no SIGPIPE, no end of file).

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode};
use rustix::pipe::SpliceFlags;

use crate::error::{OsError, Result};

/// Makes a FIFO, 0600. One that exists is kept with what is in it.
///
/// # Errors
/// [`OsError`]; also when another kind of file is there.
pub fn make(path: &Path) -> Result<()> {
    match rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => {
            let meta = std::fs::symlink_metadata(path)
                .map_err(|source| OsError::new("lstat", path.display(), source))?;
            if meta.file_type().is_fifo() {
                Ok(())
            } else {
                let object = format!("{} (a file that is no FIFO is there)", path.display());
                Err(OsError::new("mkfifo", object, rustix::io::Errno::EXIST))
            }
        }
        Err(source) => Err(OsError::new("mkfifo", path.display(), source)),
    }
}

/// For the reader: never blocks, never ends.
///
/// # Errors
/// [`OsError`].
pub fn open_reader(path: &Path) -> Result<File> {
    open(path, libc::O_NONBLOCK)
}

/// For the worker's output: blocks while the FIFO is full, as its program expects.
///
/// # Errors
/// [`OsError`].
pub fn open_writer(path: &Path) -> Result<OwnedFd> {
    open(path, 0).map(OwnedFd::from)
}

fn open(path: &Path, flags: i32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|source| OsError::new("open", path.display(), source))
}

/// Asks for a larger pipe; gives the size it has now. An ordinary user gets at most
/// `/proc/sys/fs/pipe-max-size`.
///
/// # Errors
/// [`OsError`]; EPERM when it is more than allowed, EBUSY when less than what is inside.
pub fn set_pipe_size(pipe: impl AsFd, bytes: usize) -> Result<usize> {
    rustix::pipe::fcntl_setpipe_size(pipe, bytes)
        .map_err(|source| OsError::new("fcntl(F_SETPIPE_SZ)", bytes, source))
}

/// Moves at most `most` bytes from a FIFO to the file's position without copying them
/// through this process; 0 when there is nothing now. The file must not be opened for
/// appending.
///
/// # Errors
/// [`OsError`].
pub fn splice_to_file(fifo: impl AsFd, file: impl AsFd, most: usize) -> Result<usize> {
    loop {
        match rustix::pipe::splice(
            fifo.as_fd(),
            None,
            file.as_fd(),
            None,
            most,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        ) {
            Ok(count) => return Ok(count),
            Err(rustix::io::Errno::AGAIN) => return Ok(0),
            Err(rustix::io::Errno::INTR) => {}
            Err(source) => return Err(OsError::new("splice", "a FIFO to a file", source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_was_written_outlives_reader_and_writer_as_long_as_one_holds_the_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        make(&path).unwrap();
        make(&path).unwrap();
        let _keeper = open_reader(&path).unwrap();
        let first = open_reader(&path).unwrap();
        let mut writer = File::from(open_writer(&path).unwrap());
        writer.write_all(b"before ").unwrap();
        drop(first);
        writer.write_all(b"after").unwrap();
        drop(writer);
        let mut bytes = [0; 64];
        let count = open_reader(&path).unwrap().read(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"before after");
        let empty = open_reader(&path).unwrap().read(&mut bytes).unwrap_err();
        assert_eq!(empty.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn bytes_are_moved_to_a_file_and_an_empty_fifo_moves_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        make(&path).unwrap();
        let reader = open_reader(&path).unwrap();
        assert!(set_pipe_size(&reader, 256 * 1024).unwrap() >= 256 * 1024);
        let log = File::create(dir.path().join("log")).unwrap();
        assert_eq!(splice_to_file(&reader, &log, 1 << 20).unwrap(), 0);
        File::from(open_writer(&path).unwrap())
            .write_all(b"a line\n")
            .unwrap();
        assert_eq!(splice_to_file(&reader, &log, 1 << 20).unwrap(), 7);
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"a line\n");
    }

    #[test]
    fn a_plain_file_in_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "x").unwrap();
        assert!(make(&path).unwrap_err().to_string().contains("no FIFO"));
    }
}
