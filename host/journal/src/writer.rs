//! The writing side. One a journal. It never waits for a reader, and a full disk loses the
//! events that did not fit and nothing else.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use grace_model::event::Event;
use serde_json::json;

use crate::error::JournalError;
use crate::frame::{self, Frame, LONGEST_PAYLOAD};
use crate::segment::{self, Cursor, HEADER, Header};

/// How large a journal may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment is not continued beyond this.
    pub segment_bytes: u64,
    /// Oldest segments are dropped beyond this; the newest never.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 4 * 1024 * 1024,
            total_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Writes events.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limits: Limits,
    /// Held as long as we write.
    _lock: File,
    /// Numbers and sizes of the segments before the current one.
    closed: VecDeque<(u64, u64)>,
    current: Option<Current>,
    /// The number of the next segment.
    next: u64,
    /// Frames written to all segments.
    sequence: u64,
    /// Events that could not be written since the last one that could.
    lost: u64,
}

#[derive(Debug)]
struct Current {
    number: u64,
    path: PathBuf,
    file: File,
    /// End of the last whole frame.
    end: u64,
}

impl Writer {
    /// Opens a journal for writing, makes it if there is none, and cuts off what a crash left
    /// half written.
    ///
    /// # Errors
    /// [`JournalError::Busy`] when another process writes it.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| JournalError::io(dir, "making it", source))?;
        let lock = lock(dir)?;
        let segments =
            segment::list(dir).map_err(|source| JournalError::io(dir, "listing it", source))?;
        let mut writer = Self {
            dir: dir.to_owned(),
            limits: Limits {
                segment_bytes: limits.segment_bytes.max(HEADER),
                ..limits
            },
            _lock: lock,
            next: segments
                .last()
                .map_or(1, |(number, _)| number.saturating_add(1)),
            closed: segments.into(),
            current: None,
            sequence: 0,
            lost: 0,
        };
        writer.take_up_last()?;
        Ok(writer)
    }

    /// Continues the newest segment if it is of this boot, else only learns where it ended.
    fn take_up_last(&mut self) -> Result<(), JournalError> {
        let newest = self.closed.back().map(|(number, _)| *number);
        for (number, _) in self.closed.clone().into_iter().rev() {
            let path = segment::path(&self.dir, number);
            let bytes =
                fs::read(&path).map_err(|source| JournalError::io(&path, "reading it", source))?;
            let Some(header) = Header::decode(&bytes) else {
                continue;
            };
            let body = bytes.get(HEADER as usize..).unwrap_or_default();
            let (count, good) = measure(body);
            self.sequence = header.first.saturating_add(count);
            if Some(number) == newest && header.boot == segment::boot() {
                let end = HEADER.saturating_add(good as u64);
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .map_err(|source| JournalError::io(&path, "opening it", source))?;
                file.set_len(end)
                    .map_err(|source| JournalError::io(&path, "cutting its torn end", source))?;
                self.closed.pop_back();
                self.current = Some(Current {
                    number,
                    path,
                    file,
                    end,
                });
            }
            break;
        }
        Ok(())
    }

    /// Appends an event; gives the place after it. It survives the death of this process at
    /// any moment from now on.
    ///
    /// # Errors
    /// [`JournalError::NoSpace`]; the gap is recorded by the next append that succeeds.
    pub fn append(&mut self, event: &Event) -> Result<Cursor, JournalError> {
        let payload = serde_json::to_vec(event).map_err(JournalError::Encode)?;
        if payload.len() > LONGEST_PAYLOAD {
            return Err(JournalError::TooLong {
                size: payload.len(),
                most: LONGEST_PAYLOAD,
            });
        }
        let mut frames = Vec::new();
        let mut count = 1;
        if self.lost > 0 {
            let gap = json!({ "gap": { "dropped": self.lost } }).to_string();
            frame::encode(gap.as_bytes(), &mut frames);
            count = 2;
        }
        frame::encode(&payload, &mut frames);
        match self.write(&frames) {
            Ok(cursor) => {
                self.sequence = self.sequence.saturating_add(count);
                self.lost = 0;
                Ok(cursor)
            }
            Err(error) => {
                self.lost = self.lost.saturating_add(1);
                Err(error)
            }
        }
    }

    /// Appends an event and waits until it survives a loss of power.
    ///
    /// # Errors
    /// As [`Writer::append`]. When only the waiting fails the event may be in the journal.
    pub fn append_durable(&mut self, event: &Event) -> Result<Cursor, JournalError> {
        let cursor = self.append(event)?;
        self.sync()?;
        Ok(cursor)
    }

    /// Makes everything appended so far survive a loss of power.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        match &self.current {
            Some(current) => current
                .file
                .sync_data()
                .map_err(|source| JournalError::io(&current.path, "making it durable", source)),
            None => Ok(()),
        }
    }

    /// The place after the last event; the start of an empty journal.
    #[must_use]
    pub fn position(&self) -> Cursor {
        match &self.current {
            Some(current) => Cursor {
                segment: current.number,
                offset: current.end,
            },
            None => self
                .closed
                .back()
                .map_or(Cursor::START, |(number, size)| Cursor {
                    segment: *number,
                    offset: *size,
                }),
        }
    }

    /// Events that could not be written since the last one that could.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn write(&mut self, frames: &[u8]) -> Result<Cursor, JournalError> {
        let size = frames.len() as u64;
        let fits = |current: &Current| {
            current.end == HEADER || current.end.saturating_add(size) <= self.limits.segment_bytes
        };
        if !self.current.as_ref().is_some_and(fits) {
            self.rotate()?;
        }
        let Some(current) = &mut self.current else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(JournalError::io(&self.dir, "opening a segment", missing));
        };
        if let Err(source) = current.file.write_all_at(frames, current.end) {
            let error = JournalError::io(&current.path, "writing to it", source);
            // A reader must not take half a frame for damage when more follows it. If even
            // that fails, more goes to a new segment.
            if current.file.set_len(current.end).is_err() {
                let number = current.number;
                let end = current.end;
                self.current = None;
                self.closed.push_back((number, end));
            }
            return Err(error);
        }
        current.end = current.end.saturating_add(size);
        Ok(Cursor {
            segment: current.number,
            offset: current.end,
        })
    }

    /// Begins a new segment and drops the oldest beyond the bound.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let number = self.next;
        let path = segment::path(&self.dir, number);
        let header = Header {
            boot: segment::boot(),
            first: self.sequence,
        };
        let file = begin(&path, &header).map_err(|source| {
            let _ = fs::remove_file(&path);
            JournalError::io(&path, "beginning it", source)
        })?;
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| JournalError::io(&self.dir, "making it durable", source))?;
        self.next = self.next.saturating_add(1);
        if let Some(old) = self.current.take() {
            self.closed.push_back((old.number, old.end));
        }
        self.current = Some(Current {
            number,
            path,
            file,
            end: HEADER,
        });
        self.drop_oldest();
        Ok(())
    }

    fn drop_oldest(&mut self) {
        let total = |closed: &VecDeque<(u64, u64)>| {
            closed
                .iter()
                .fold(self.limits.segment_bytes, |sum, (_, size)| {
                    sum.saturating_add(*size)
                })
        };
        while total(&self.closed) > self.limits.total_bytes {
            let Some((number, _)) = self.closed.front() else {
                break;
            };
            // What cannot be dropped now is tried again at the next rotation.
            match fs::remove_file(segment::path(&self.dir, *number)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => break,
                _ => self.closed.pop_front(),
            };
        }
    }
}

fn begin(path: &Path, header: &Header) -> std::io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&header.encode())?;
    Ok(file)
}

/// Whole frames in a segment's body, and where the last of them ends.
fn measure(body: &[u8]) -> (u64, usize) {
    let mut offset = 0_usize;
    let mut good = 0;
    let mut count = 0_u64;
    loop {
        let rest = body.get(offset..).unwrap_or_default();
        if let Frame::Whole { size, .. } = frame::decode(rest) {
            offset = offset.saturating_add(size);
            count = count.saturating_add(1);
            good = offset;
        } else if let Some(skip) = frame::next_whole(rest) {
            offset = offset.saturating_add(skip);
        } else {
            return (count, good);
        }
    }
}

/// A process that was just killed may hold its lock for a moment more, through a child
/// between fork and exec.
fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let failed = |source| JournalError::io(&path, "locking it", source);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    for _ in 0..50 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(JournalError::Busy {
        dir: dir.to_owned(),
    })
}
