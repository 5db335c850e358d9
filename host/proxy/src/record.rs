//! The proxy's journal, written by a thread of its own: a slow disk holds up events, never
//! probes and never traffic.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use grace_journal::{JournalError, Limits, Writer};
use grace_model::event::{Event, What};

/// Events that wait for the disk: some seconds' worth of a troubled fleet. Beyond it they are
/// counted as lost rather than kept in memory without end.
const WAITING: usize = 8_192;
/// Time between two attempts to open a journal that the proxy before still holds.
const AGAIN: Duration = Duration::from_millis(20);

/// Takes events.
#[derive(Debug)]
pub(crate) struct Record {
    /// None: it was given up.
    events: Option<SyncSender<Event>>,
    lost: u64,
    written: u64,
}

impl Record {
    /// Starts writing to the journal in `dir`.
    pub(crate) fn start(dir: PathBuf) -> io::Result<Self> {
        let (events, waiting) = sync_channel(WAITING);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(&dir, &waiting))?;
        Ok(Self {
            events: Some(events),
            lost: 0,
            written: 0,
        })
    }

    /// Gives the journal up once all that was told is in it. What comes later is not written.
    pub(crate) fn end(&mut self) {
        self.events = None;
    }

    /// Writes an event, with the time of now.
    pub(crate) fn write(&mut self, what: What) {
        let Some(events) = &self.events else { return };
        let at = stamp();
        match events.try_send(Event { at, what }) {
            Ok(()) => self.written += 1,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost += 1;
                if self.lost.is_power_of_two() {
                    tracing::warn!(
                        lost = self.lost,
                        "the journal cannot keep up; events are lost"
                    );
                }
            }
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

/// The time of day in milliseconds since 1970, to be written down and never reckoned with.
pub(crate) fn stamp() -> u64 {
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

fn write(dir: &std::path::Path, waiting: &Receiver<Event>) {
    let mut quiet = false;
    let mut writer = loop {
        match Writer::open(dir, Limits::default()) {
            Ok(writer) => break writer,
            Err(error) => {
                let busy = matches!(error, JournalError::Busy { .. });
                if !busy && !quiet {
                    quiet = true;
                    tracing::error!(%error, "the proxy's journal cannot be opened; trying on");
                }
                thread::sleep(AGAIN);
            }
        }
    };
    let mut failing = false;
    for event in waiting {
        match writer.append(&event) {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "the proxy's journal cannot be written");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn a_wall_clock_that_jumps_moves_nothing_of_the_proxy_but_the_stamps_of_its_journal() {
        let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut seen = 0;
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                seen += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                let asks = ["SystemTime", "UNIX_EPOCH", "now_ms", "clock::"]
                    .iter()
                    .any(|word| text.contains(word));
                assert!(
                    !asks || path.ends_with("record.rs") || path.ends_with("certs.rs"),
                    "{} asks the wall clock",
                    path.display()
                );
            }
        }
        assert!(seen > 20, "{seen} files");
    }
}
