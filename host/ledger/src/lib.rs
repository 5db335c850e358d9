//! The ledger: an append-only, hash-chained record of every decision in one SQLite file, and
//! the state that must never disagree with it. It knows rows and hashes; what an entry means,
//! and when to write one, others know.
//!
//! - One process writes ([`Ledger`]), many read ([`Reader`]).
//! - What [`Ledger::transaction`] returned `Ok` for is on the disk.
//! - At open everything is verified; of a long ledger what is behind the mark of the last full
//!   verification, which is made anew while it is open. A damaged file is kept aside, whole; a new ledger begins
//!   with what of it still verifies, and says so in its first new entry.

mod anchor;
mod entry;
mod error;
mod head;
mod ledger;
mod prune;
mod read;
mod salvage;
mod schema;
mod tx;
mod verify;

pub use anchor::PRUNED;
pub use entry::{Entry, LEDGER_DAMAGED, SALVAGED};
pub use error::{Broken, LedgerError};
pub use ledger::{Ledger, Opened};
pub use prune::{Pruned, Retention};
pub use read::{Cursor, Queries, Reader, Run};
pub use tx::Tx;

/// What the methods here answer with.
pub type Result<T> = std::result::Result<T, LedgerError>;
