//! How many files this process and its children may open. A soft limit of 1,024 is the usual
//! default, kept low for programs that use `select`; one that does not may raise it to the
//! hard limit without asking anyone.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{OsError, Result};

/// A limit of open files. `u64::MAX`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What counts.
    pub soft: u64,
    /// How far the soft one may be raised.
    pub hard: u64,
}

/// This process's limit.
#[must_use]
pub fn open_files() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    OpenFiles {
        soft: limit.current.unwrap_or(u64::MAX),
        hard: limit.maximum.unwrap_or(u64::MAX),
    }
}

/// Raises this process's soft limit to its hard one; gives the limit it had before, for its
/// children.
///
/// # Errors
/// [`OsError`]; then the limit is as it was.
pub fn raise_open_files() -> Result<OpenFiles> {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, most)
        .map_err(|source| OsError::new("setrlimit", "RLIMIT_NOFILE", source))?;
    Ok(OpenFiles {
        soft: before.current.unwrap_or(u64::MAX),
        hard: before.maximum.unwrap_or(u64::MAX),
    })
}
