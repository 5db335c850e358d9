//! Why a journal could not be written or read.

use std::io;
use std::path::PathBuf;

/// Why a journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full, or a quota or size limit is reached. The event is not in the
    /// journal, what was there before is whole, and the next append that succeeds records
    /// the gap.
    #[error("{}: no space left for an event: make room; appends go on when there is some: {source}",
        .path.display())]
    NoSpace {
        /// The segment.
        path: PathBuf,
        /// As the kernel said it.
        source: io::Error,
    },
    /// Another process writes this journal.
    #[error("{} is being written by another process: end it first", .dir.display())]
    Busy {
        /// The journal's directory.
        dir: PathBuf,
    },
    /// The event is larger than any event is.
    #[error("an event of {size} bytes is longer than the longest allowed, {most}")]
    TooLong {
        /// Its size.
        size: usize,
        /// What is allowed.
        most: usize,
    },
    /// The event could not be written as JSON.
    #[error("an event could not be encoded: {0}")]
    Encode(serde_json::Error),
    /// A file could not be used.
    #[error("{}: {doing}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl JournalError {
    pub(crate) fn io(path: impl Into<PathBuf>, doing: &'static str, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => JournalError::NoSpace { path, source },
            _ => JournalError::Io {
                path,
                doing,
                source,
            },
        }
    }
}
