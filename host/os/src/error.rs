//! The error of a system call: which call, on what, why.

use std::fmt::Display;
use std::io;

/// Result of a system call.
pub type Result<T> = std::result::Result<T, OsError>;

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} {object}: {source}")]
pub struct OsError {
    /// The call.
    pub call: &'static str,
    /// What it was made on.
    pub object: String,
    /// Why it failed.
    pub source: io::Error,
}

impl OsError {
    /// The failure of `call` on `object`.
    pub fn new(call: &'static str, object: impl Display, source: impl Into<io::Error>) -> Self {
        Self {
            call,
            object: object.to_string(),
            source: source.into(),
        }
    }

    /// The failure that the calling thread's `errno` tells.
    pub fn last(call: &'static str, object: impl Display) -> Self {
        Self::new(call, object, io::Error::last_os_error())
    }

    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether the failure has this `errno`.
    #[must_use]
    pub fn is(&self, errno: i32) -> bool {
        self.source.raw_os_error() == Some(errno)
    }

    /// Whether the process or file that was meant does not exist (ENOENT, ESRCH).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.is(libc::ENOENT) || self.is(libc::ESRCH)
    }
}
