//! Where an output goes: rotated files, and a ring of its newest bytes. It is moved inside the
//! kernel, so that whoever moves it can be killed at any moment and has taken nothing out of
//! the FIFO that is not in the file. One process at a time moves one output.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use grace_os::{OsError, fifo};

use crate::ring::Ring;

/// A file is put aside when it has grown beyond this.
pub(crate) const FILE_BYTES: u64 = 1024 * 1024;

/// Files kept beside the current one: `.1` to `.3`.
const ASIDE: u32 = 3;

/// Moved at once. As much as a FIFO of an ordinary user can hold.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// The files of one output, and its newest bytes.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    ring: Ring,
    /// The newest bytes, as many as this, are in no file: they could not be written.
    unsaved: u64,
}

impl Files {
    /// Those at `path`, with `ring` bytes in memory. What a dead process had in memory is
    /// taken from the files.
    pub(crate) fn new(path: &Path, ring: usize) -> Self {
        let mut files = Self {
            path: path.to_owned(),
            file: None,
            size: 0,
            ring: Ring::new(ring),
            unsaved: 0,
        };
        files.fill_ring();
        files
    }

    /// The newest bytes.
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// How many of the newest bytes are in no file.
    pub(crate) fn unsaved(&self) -> u64 {
        self.unsaved
    }

    /// Moves until the FIFO is empty, which it says, or a few files' worth was moved.
    pub(crate) fn take(&mut self, fifo: &File) -> bool {
        let mut budget = 4 * FILE_BYTES;
        while budget > 0 {
            match self.splice(fifo) {
                Ok(0) => return true,
                Ok(count) => {
                    self.rotate();
                    budget = budget.saturating_sub(count);
                }
                Err(error) => {
                    // A full disk must not stop the worker that writes.
                    let drained = self.drain(fifo);
                    if drained == 0 {
                        return true;
                    }
                    if self.unsaved == 0 {
                        tracing::warn!(%error, "output of {} is lost", self.path.display());
                    }
                    self.unsaved = self.unsaved.saturating_add(drained);
                    budget = budget.saturating_sub(drained);
                }
            }
        }
        false
    }

    fn splice(&mut self, fifo: &File) -> Result<u64, OsError> {
        let failed = |call, path: &Path, source| OsError::new(call, path.display(), source);
        self.open()
            .map_err(|source| failed("open", &self.path, source))?;
        self.tell_loss()
            .map_err(|source| failed("write", &self.path, source))?;
        let Some(file) = &self.file else { return Ok(0) };
        let count = fifo::splice_to_file(fifo, file, CHUNK)?;
        let seen = count.min(self.ring.most());
        let mut bytes = vec![0; seen];
        let end = self.size.saturating_add(count as u64);
        // What the ring cannot have, it must not seem to have.
        let read = file.read_exact_at(&mut bytes, end.saturating_sub(seen as u64));
        let seen = if read.is_ok() { seen } else { 0 };
        self.ring.skip(count.saturating_sub(seen) as u64);
        self.ring.push(bytes.get(..seen).unwrap_or_default());
        self.size = end;
        Ok(count as u64)
    }

    /// Writes into the file, where it happened, that output is missing.
    fn tell_loss(&mut self) -> std::io::Result<()> {
        let Some(mut file) = self.file.as_ref().filter(|_| self.unsaved > 0) else {
            return Ok(());
        };
        let line = format!(
            "grace: {} bytes of output are missing here, they could not be written\n",
            self.unsaved
        );
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half of the line must not stay before what comes next.
            let _ = file.set_len(self.size);
            let _ = file.seek(SeekFrom::Start(self.size));
            return Err(error);
        }
        self.size = self.size.saturating_add(line.len() as u64);
        tracing::warn!(
            bytes = self.unsaved,
            "output of {} was lost; it is written again",
            self.path.display()
        );
        self.unsaved = 0;
        Ok(())
    }

    fn open(&mut self) -> std::io::Result<()> {
        // A file that somebody removed is made anew.
        let removed = self
            .file
            .as_ref()
            .is_some_and(|file| file.metadata().map_or(true, |meta| meta.nlink() == 0));
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
        Ok(())
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
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn fill_ring(&mut self) {
        let most = self.ring.most();
        let (current, newest) = last_bytes(&self.path, most);
        let (previous, before) = last_bytes(&self.aside(1), most - newest.len());
        let held = (before.len() + newest.len()) as u64;
        let all = current.saturating_add(previous);
        self.ring.skip(all.saturating_sub(held));
        self.ring.push(&before);
        self.ring.push(&newest);
    }

    fn drain(&mut self, mut fifo: &File) -> u64 {
        let mut bytes = vec![0; 64 * 1024];
        let count = fifo.read(&mut bytes).unwrap_or(0);
        self.ring.push(bytes.get(..count).unwrap_or_default());
        count as u64
    }
}

/// The size of a plain file and its last bytes.
fn last_bytes(path: &Path, most: usize) -> (u64, Vec<u8>) {
    let Ok(file) = File::open(path) else {
        return (0, Vec::new());
    };
    let size = file.metadata().map_or(0, |meta| meta.len());
    let count = usize::try_from(size).unwrap_or(usize::MAX).min(most);
    let mut bytes = vec![0; count];
    match file.read_exact_at(&mut bytes, size.saturating_sub(count as u64)) {
        Ok(()) => (size, bytes),
        Err(_) => (size, Vec::new()),
    }
}
