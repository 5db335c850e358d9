//! What can go wrong with the healer as a whole.

use std::path::PathBuf;

use grace_ledger::LedgerError;

/// Why the healer could not start, or could not write.
#[derive(Debug, thiserror::Error)]
pub enum HealerError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or directory.
    #[error("{}: {cause}: {remedy}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// A journal.
    #[error("the journal of {process}: {cause}")]
    Journal {
        /// Whose.
        process: String,
        /// Why.
        cause: String,
    },
    /// A stored run, incident or state could not be read back.
    #[error("{what} in the ledger cannot be read: {cause}")]
    Stored {
        /// Which.
        what: String,
        /// Why.
        cause: String,
    },
    /// A kernel could not be started or has failed for good.
    #[error("{0}")]
    Kernel(String),
    /// A playbook has the target in its hands already.
    #[error("{target} is being healed for {by}: wait for its end")]
    Busy {
        /// What is held: the target, its service or an instance of it.
        target: String,
        /// For which incident.
        by: String,
    },
    /// A rule or an order of governance lets no playbook run.
    #[error("not now: {0}")]
    Held(String),
    /// An incident was to go where its life does not lead.
    #[error("incident {id} cannot become {to} from {from}")]
    Transition {
        /// Which.
        id: String,
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
    },
}

/// What the methods here answer with.
pub type Result<T> = std::result::Result<T, HealerError>;
