//! The journals of the other processes, read from where the ledger says.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use grace_journal::{Cursor, Entry, GapReason, Reader};
use grace_ledger::{Ledger, Queries};
use grace_model::event::Event;
use grace_model::layout::Layout;

use crate::error::{HealerError, Result};

/// Whose journals are read.
pub const PROCESSES: [&str; 2] = ["supervisor", "proxy"];
/// Entries taken from one journal at once: bounds a batch after the healer was away for long.
pub const MOST: usize = 2_000;

/// A journal is read after this even when it seems to have nothing new.
const SURE: Duration = Duration::from_secs(1);
/// Times of files are no finer than a tick; for this long the same time proves nothing.
const FRESH: Duration = Duration::from_secs(2);

/// All journals.
pub struct Journals {
    each: Vec<Journal>,
}

struct Journal {
    process: &'static str,
    dir: PathBuf,
    reader: Reader,
    quiet: Option<Quiet>,
}

/// How a journal looked when there was nothing new in it. Ten times a second it mostly looks
/// the same, and two looks cost far less than a read.
#[derive(Debug)]
struct Quiet {
    newest: PathBuf,
    length: u64,
    /// When a segment was last added or dropped.
    changed: SystemTime,
    seen: Instant,
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
                quiet: None,
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
            if journal
                .quiet
                .as_ref()
                .is_some_and(|q| q.holds(&journal.dir))
            {
                continue;
            }
            // Before the read: what is written meanwhile makes it look different.
            let quiet = Quiet::of(&journal.dir);
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
            journal.quiet = quiet.filter(|_| entries.is_empty());
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

impl Quiet {
    fn of(dir: &Path) -> Option<Self> {
        let changed = fs::metadata(dir).ok()?.modified().ok()?;
        if changed.elapsed().ok()? < FRESH {
            return None;
        }
        let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
        let newest = names
            .filter(|path| path.extension().is_some_and(|end| end == "journal"))
            .max()?;
        let length = fs::metadata(&newest).ok()?.size();
        Some(Self {
            newest,
            length,
            changed,
            seen: Instant::now(),
        })
    }

    fn holds(&self, dir: &Path) -> bool {
        self.seen.elapsed() < SURE
            && fs::metadata(&self.newest).is_ok_and(|file| file.size() == self.length)
            && fs::metadata(dir)
                .and_then(|dir| dir.modified())
                .is_ok_and(|changed| changed == self.changed)
    }
}

fn reason_words(reason: GapReason) -> &'static str {
    match reason {
        GapReason::NoSpace => "there was no space to write them",
        GapReason::Dropped => "dropped to keep the journal within its bound",
        GapReason::Damaged => "their bytes are damaged",
    }
}

#[cfg(test)]
mod tests {
    use grace_journal::{Limits, Writer};
    use grace_model::event::What;

    use super::*;

    #[test]
    fn what_is_written_to_a_quiet_journal_is_read_at_once_also_from_a_new_segment() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let folder = layout.journal("supervisor");
        let limits = Limits {
            segment_bytes: 4_096,
            ..Limits::default()
        };
        let mut writer = Writer::open(&folder, limits).unwrap();
        let (ledger, _) = Ledger::open(&layout.ledger()).unwrap();
        let mut journals = Journals::open(&layout, &ledger).unwrap();
        let mut quiet = 0;
        for at in 0..200 {
            let late_ms = 7;
            let process = "supervisor".to_owned();
            let what = What::Stalled { process, late_ms };
            writer.append(&Event { at, what }).unwrap();
            let read = journals.read().unwrap().events;
            assert_eq!(read.iter().map(|e| e.at).collect::<Vec<_>>(), [at]);
            // As if the last segment had been begun long ago.
            let before = SystemTime::now() - 2 * FRESH;
            let opened = fs::File::open(&folder).unwrap();
            opened.set_modified(before).unwrap();
            assert!(journals.read().unwrap().events.is_empty());
            quiet += usize::from(journals.each.iter().any(|one| one.quiet.is_some()));
        }
        assert_eq!(quiet, 200);
        assert!(writer.position().segment > 2);
    }
}
