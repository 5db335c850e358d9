//! The journals of the other processes, read from where the ledger says.

use std::path::PathBuf;

use grace_journal::{Cursor, Entry, GapReason, Reader};
use grace_ledger::{Ledger, Queries};
use grace_model::event::Event;
use grace_model::layout::Layout;

use crate::error::{HealerError, Result};

/// Whose journals are read.
pub const PROCESSES: [&str; 2] = ["supervisor", "proxy"];
/// Entries taken from one journal at once: bounds a batch after the healer was away for long.
pub const MOST: usize = 2_000;

/// All journals.
pub struct Journals {
    each: Vec<Journal>,
}

struct Journal {
    process: &'static str,
    dir: PathBuf,
    reader: Reader,
}

/// What was new.
#[derive(Debug, Default)]
pub struct News {
    /// Events in the order of their times.
    pub events: Vec<Event>,
    /// What is missing: process, how many when known, why.
    pub gaps: Vec<(&'static str, Option<u64>, &'static str)>,
    /// There is more to read at once.
    pub more: bool,
}

impl Journals {
    /// Readers that go on where the last stored batch ended.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn open(layout: &Layout, ledger: &Ledger) -> Result<Self> {
        let mut each = Vec::new();
        for process in PROCESSES {
            let dir = layout.journal(process);
            let cursor = ledger.cursor(process)?.map_or(Cursor::START, |c| Cursor {
                segment: c.segment,
                offset: c.offset,
            });
            let reader = Reader::open(&dir, cursor);
            each.push(Journal {
                process,
                dir,
                reader,
            });
        }
        Ok(Self { each })
    }

    /// What is new in all of them.
    ///
    /// # Errors
    /// When a journal cannot be read; the same entries come again.
    pub fn read(&mut self) -> Result<News> {
        let mut news = News::default();
        for journal in &mut self.each {
            if !journal.dir.exists() {
                continue;
            }
            let entries = journal
                .reader
                .read(MOST)
                .map_err(|e| HealerError::Journal {
                    process: journal.process.to_owned(),
                    cause: e.to_string(),
                })?;
            news.more |= entries.len() >= MOST;
            for (_, entry) in entries {
                match entry {
                    Entry::Event(event) => news.events.push(event),
                    Entry::Gap { dropped, reason } => {
                        news.gaps
                            .push((journal.process, dropped, reason_words(reason)));
                    }
                    Entry::Unknown(kind) => {
                        tracing::debug!(process = journal.process, kind, "an unknown event");
                    }
                }
            }
        }
        // Two writers, one order: by time, and a writer's own order where times are equal.
        news.events.sort_by_key(|event| event.at);
        Ok(news)
    }

    /// Where each reader stands.
    #[must_use]
    pub fn cursors(&self) -> Vec<(&'static str, Cursor)> {
        self.each
            .iter()
            .map(|journal| (journal.process, journal.reader.cursor()))
            .collect()
    }
}

fn reason_words(reason: GapReason) -> &'static str {
    match reason {
        GapReason::NoSpace => "there was no space to write them",
        GapReason::Dropped => "dropped to keep the journal within its bound",
        GapReason::Damaged => "their bytes are damaged",
    }
}
