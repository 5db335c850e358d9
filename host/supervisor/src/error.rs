//! Why a keeper or supervisor cannot go on.

use std::path::PathBuf;

use grace_journal::JournalError;
use grace_os::OsError;
use grace_os::dir::DirError;
use grace_os::listen::ListenError;
use grace_os::lock::LockError;
use grace_os::spawn::SpawnError;

/// Fatal to the process that meets it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error(transparent)]
    Os(#[from] OsError),
    /// A directory is not usable as ours.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Another keeper or supervisor lives on this state.
    #[error("another {process} runs on this state directory: {source}; `grace down` ends it")]
    Lock {
        /// `keeper` or `supervisor`.
        process: &'static str,
        /// Who.
        source: LockError,
    },
    /// A program of Grace could not be started.
    #[error("{process} could not be started: {source}")]
    Spawn {
        /// Which.
        process: &'static str,
        /// Why.
        source: SpawnError,
    },
    /// It was started and ended at once.
    #[error("{process} ended right after its start; see {}", .log.display())]
    Ended {
        /// Which.
        process: &'static str,
        /// Where it says why.
        log: PathBuf,
    },
    /// An address cannot be listened on.
    #[error("service {service}: {source}")]
    Listen {
        /// Whose.
        service: String,
        /// Why.
        source: ListenError,
    },
    /// The journal cannot be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file cannot be used.
    #[error("{}: {what}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The resolved configuration cannot be understood.
    #[error("{}: {reason}; run `grace up` again, which writes it anew", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The other side speaks another language.
    #[error("{with} said what was not understood: {text:?}")]
    Protocol {
        /// Who.
        with: &'static str,
        /// What.
        text: String,
    },
}

impl Error {
    pub(crate) fn file(
        path: impl Into<PathBuf>,
        what: &'static str,
        source: std::io::Error,
    ) -> Self {
        Error::File {
            path: path.into(),
            what,
            source,
        }
    }
}
