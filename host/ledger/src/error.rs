//! What can go wrong with the ledger, told apart by what a caller can do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why a call failed. Whatever the reason, nothing of the failed transaction was written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No room on the disk. The next call may succeed once there is room.
    #[error("the disk is full, the ledger could not be written: free some space beside it")]
    DiskFull,
    /// Another process writes this ledger.
    #[error("{} is being written by another process: only one may", .0.display())]
    InUse(PathBuf),
    /// Somebody else holds a lock on the database for too long.
    #[error("the ledger is locked by another program (an open `sqlite3` transaction?): end it")]
    Busy,
    /// The content is damaged. Opening the ledger anew keeps the file aside and salvages it.
    #[error("the ledger is damaged: {0}; open it again to salvage it")]
    Damaged(String),
    /// It was written by a later version of Grace.
    #[error("{} has version {found}, this Grace knows up to {known}: use a newer Grace", .path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A file beside the database could not be used.
    #[error("{}: {cause}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// What is stored does not verify.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A value could not be written as JSON.
    #[error("a value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Anything else that SQLite reports: permissions, input and output errors.
    #[error("the ledger's database: {0}")]
    Database(rusqlite::Error),
}

/// The first thing that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq}: {reason}")]
pub struct Broken {
    /// The first entry that cannot be trusted; those below it verify. One past the last
    /// entry when the entries are whole and something else is wrong.
    pub seq: u64,
    /// What is wrong.
    pub reason: String,
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LedgerError::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                LedgerError::Damaged(error.to_string())
            }
            _ => LedgerError::Database(error),
        }
    }
}

/// Whether an error while verifying speaks against the content, not against the machine.
pub(crate) fn speaks_of_damage(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}
