//! Governance as the healer keeps it: the book in memory and in the ledger, changed together
//! with incidents in one transaction, so that a kill at any moment forgets nothing and doubles
//! nothing. What the book means is decided in `grace-plan`.

mod gate;
mod orders;

pub use gate::{Entered, Entry, OBSERVES, approved, enter, look_at};

use std::sync::{Arc, Mutex, PoisonError};

use grace_ledger::{Ledger, Queries};
use grace_model::govern::{Governance, Moment};
use grace_plan::govern::Book;

use crate::clock::Clock;
use crate::desk::{Desk, Draft};
use crate::error::{HealerError, Result};

/// Where the ledger keeps the book.
const KEY: &str = "governance";

/// The keeper of the book.
pub struct Governor {
    /// As declared.
    pub rules: Governance,
    book: Mutex<Book>,
    clock: Arc<dyn Clock>,
}

impl Governor {
    /// Reads the book that the ledger holds.
    ///
    /// # Errors
    /// What the ledger says. A book that cannot be understood is one too: orders that were given
    /// must not be forgotten in silence.
    pub fn open(rules: Governance, ledger: &Ledger, clock: Arc<dyn Clock>) -> Result<Self> {
        let book = match ledger.get(KEY)? {
            None => Book::default(),
            Some(json) => serde_json::from_value(json).map_err(|cause| HealerError::Stored {
                what: "the book of governance".to_owned(),
                cause: cause.to_string(),
            })?,
        };
        Ok(Self {
            rules,
            book: Mutex::new(book),
            clock,
        })
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment {
            wall: self.clock.wall_ms(),
            steady: self.clock.steady_ms(),
            boot: self.clock.boot(),
        }
    }

    /// Looks at the book. Never while incidents are looked at: whoever changes both locks the book
    /// first.
    pub fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes incidents and the book in one transaction, or neither. The book is locked
    /// meanwhile, always before the desk.
    ///
    /// # Errors
    /// What `work` answers, or why it could not be written.
    pub fn change<T>(
        &self,
        desk: &Desk,
        work: impl FnOnce(&mut Draft<'_, '_>, &mut Book, &Moment) -> Result<T>,
    ) -> Result<T> {
        let now = self.now();
        let mut held = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = held.clone();
        let answer = desk.change(|draft| {
            let answer = work(draft, &mut book, &now)?;
            if book != *held {
                draft.tx().put(KEY, &book)?;
            }
            Ok(answer)
        })?;
        *held = book;
        Ok(answer)
    }

    /// Why no run may go on, while the kill switch is thrown.
    #[must_use]
    pub fn killed(&self) -> Option<String> {
        self.look(|book| {
            let given = book.orders.killed.as_ref()?;
            Some(format!("the kill switch was thrown by {}", given.by))
        })
    }
}
