//! The incidents: what is known of them in memory, and the only way to change them. A change is
//! one ledger transaction; memory follows only after it is on the disk, so that a reader never
//! sees what a crash could take back.

mod board;
mod draft;
mod past;
mod signature;

pub use board::{Board, in_work, overlap};
pub use draft::{Draft, Taken};
pub use past::changes;
pub use signature::{normalised, signature};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use grace_ledger::{Ledger, Queries};
use grace_model::incident::Incident;

use crate::clock::Clock;
use crate::error::{HealerError, Result};

/// Where incidents are changed and read.
pub struct Desk {
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    reopen_ms: u64,
    /// One change at a time: a draft must see what the one before it installed.
    turn: Mutex<()>,
    board: RwLock<Board>,
    version: AtomicU64,
}

impl Desk {
    /// Reads the incidents of a ledger.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn open(ledger: Arc<Ledger>, clock: Arc<dyn Clock>, reopen_ms: u64) -> Result<Self> {
        let mut board = Board::default();
        let (wall, steady) = (clock.wall_ms(), clock.steady_ms());
        for incident in ledger.incidents()? {
            let last = if incident.state.at_rest() {
                None
            } else {
                ledger
                    .entries_of(&incident.id)?
                    .iter()
                    .rev()
                    .find(|e| e.kind == "incident")
                    .map(|e| e.at)
            };
            board.restore(incident, last, wall, steady);
        }
        Ok(Self {
            ledger,
            clock,
            reopen_ms,
            turn: Mutex::new(()),
            board: RwLock::new(board),
            version: AtomicU64::new(1),
        })
    }

    /// The ledger, for what has nothing to do with incidents.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Does all that `work` asks in one transaction, or nothing of it.
    ///
    /// # Errors
    /// What `work` answers, or why it could not be written.
    pub fn change<T>(&self, work: impl FnOnce(&mut Draft<'_, '_>) -> Result<T>) -> Result<T> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, steady) = (self.clock.wall_ms(), self.clock.steady_ms());
        let (answer, changes) = {
            let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
            self.ledger.transaction::<_, HealerError>(|tx| {
                let mut draft = Draft::new(tx, &board, wall, steady, self.reopen_ms);
                let answer = work(&mut draft)?;
                Ok((answer, draft.into_changes()?))
            })?
        };
        if !changes.is_empty() {
            self.board
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .install(changes);
            self.version.fetch_add(1, Ordering::Release);
        }
        drop(turn);
        Ok(answer)
    }

    /// Looks at the incidents.
    pub fn look<T>(&self, look: impl FnOnce(&Board) -> T) -> T {
        look(&self.board.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All incidents, oldest first.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        self.look(|board| board.all().cloned().collect())
    }

    /// All incidents, oldest first, with the number of the last ledger entry that they hold.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn incidents_at(&self) -> Result<(u64, Vec<Incident>)> {
        // Between a commit and its installation the ledger is ahead of memory.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((self.ledger.count()?, self.incidents()))
    }

    /// Rises with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
