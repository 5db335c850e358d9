//! Operations that were taken up, and what came of them: the memory by which the same
//! operation id has one effect. Built from a journal, kept up beside it.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use grace_model::command::{Command, Outcome};
use grace_model::event::{Event, What};
use grace_model::id::OpId;

use crate::error::JournalError;
use crate::reader::{Entry, Reader};
use crate::segment::Cursor;

/// Operations that are remembered. A playbook run makes a few dozen, and nobody repeats one
/// that is thousands old.
pub const REMEMBERED: usize = 4096;

/// What is known of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// Taken up, not finished.
    Begun(Command),
    /// Finished.
    Done(Outcome),
}

/// The memory.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    by_id: HashMap<OpId, Remembered>,
    /// Oldest first.
    order: VecDeque<OpId>,
}

impl Operations {
    /// Replays a journal from its beginning; empty when there is none.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read.
    pub fn load(dir: &Path) -> Result<Self, JournalError> {
        let mut operations = Self::default();
        let mut reader = Reader::open(dir, Cursor::START);
        loop {
            let entries = reader.read(1024)?;
            if entries.is_empty() {
                return Ok(operations);
            }
            for (_, entry) in &entries {
                if let Entry::Event(event) = entry {
                    operations.note(event);
                }
            }
        }
    }

    /// Takes note of an event, which is about to be or was journalled.
    pub fn note(&mut self, event: &Event) {
        match &event.what {
            What::OperationBegun { op, command } => {
                self.remember(op, Remembered::Begun(command.clone()));
            }
            What::OperationDone { op, outcome } => {
                self.remember(op, Remembered::Done(outcome.clone()));
            }
            _ => {}
        }
    }

    fn remember(&mut self, op: &OpId, what: Remembered) {
        if self.by_id.insert(op.clone(), what).is_none() {
            self.order.push_back(op.clone());
        }
        while self.order.len() > REMEMBERED {
            self.forget_one();
        }
    }

    /// The oldest finished one; an unfinished one only when all are.
    fn forget_one(&mut self) {
        let is_done = |op: &OpId| matches!(self.by_id.get(op), Some(Remembered::Done(_)));
        let at = self.order.iter().position(is_done).unwrap_or(0);
        if let Some(op) = self.order.remove(at) {
            self.by_id.remove(&op);
        }
    }

    /// What is known of an operation.
    #[must_use]
    pub fn get(&self, op: &OpId) -> Option<&Remembered> {
        self.by_id.get(op)
    }

    /// Those taken up and not finished, oldest first: what a restart has to take up again.
    #[must_use]
    pub fn unfinished(&self) -> Vec<(OpId, Command)> {
        self.order
            .iter()
            .filter_map(|op| match self.by_id.get(op) {
                Some(Remembered::Begun(command)) => Some((op.clone(), command.clone())),
                _ => None,
            })
            .collect()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(number: usize) -> Event {
        let command = Command::RestartProcess {
            process: "proxy".to_owned(),
        };
        Event {
            at: 1,
            what: What::OperationBegun {
                op: op(number),
                command,
            },
        }
    }

    fn done(number: usize) -> Event {
        let outcome = Outcome::Done {
            number: number as u64,
        };
        Event {
            at: 2,
            what: What::OperationDone {
                op: op(number),
                outcome,
            },
        }
    }

    fn op(number: usize) -> OpId {
        OpId::from(format!("op-{number}"))
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_is_finished_first() {
        let mut operations = Operations::default();
        operations.note(&begun(0));
        for number in 1..=REMEMBERED + 10 {
            operations.note(&begun(number));
            operations.note(&done(number));
        }
        assert_eq!(operations.len(), REMEMBERED);
        assert!(matches!(operations.get(&op(0)), Some(Remembered::Begun(_))));
        assert_eq!(operations.get(&op(1)), None);
        assert_eq!(operations.unfinished().len(), 1);
    }
}
