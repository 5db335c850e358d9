//! The kernel `recognizer`: findings become incidents, known ones or new ones. What one round
//! of detectors gave (places in the journals, their states, their findings) is stored whole or
//! not at all, so that a crash neither loses nor doubles a finding.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grace_journal::Cursor;
use grace_model::plugin::Finding;
use serde_json::json;

use crate::desk::{Desk, Taken};
use crate::error::{HealerError, Result};
use crate::kernel::Pulse;

/// A detector's new state.
pub type State = (String, Vec<u8>);
/// Which detector said what.
pub type Said = (String, Finding);

/// One round of detectors.
#[derive(Debug, Default)]
pub struct Judged {
    /// Up to where each journal was read.
    pub cursors: Vec<(&'static str, Cursor)>,
    /// States that changed.
    pub states: Vec<State>,
    /// What was found, with the service of its target.
    pub findings: Vec<(String, Said)>,
    /// What is missing in the journals.
    pub gaps: Vec<(&'static str, Option<u64>, &'static str)>,
}

/// What became of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Incidents that were opened or came back.
    pub opened: usize,
}

type Letter = (Judged, SyncSender<Result<Told>>);

/// Both ends of the way from `triggers` to `recognizer`.
pub struct Recognizer {
    desk: Arc<Desk>,
    sender: SyncSender<Letter>,
    /// Behind a lock only so that a restarted kernel finds it again.
    receiver: Mutex<Receiver<Letter>>,
}

impl Recognizer {
    /// The recognizer of a desk.
    #[must_use]
    pub fn new(desk: Arc<Desk>) -> Self {
        // One: the sender waits for the answer before it judges on.
        let (sender, receiver) = sync_channel(1);
        Self {
            desk,
            sender,
            receiver: Mutex::new(receiver),
        }
    }

    /// Has a round stored, and waits until it is.
    ///
    /// # Errors
    /// When it was not stored, whatever the reason: nothing of it was.
    pub fn tell(&self, judged: Judged) -> Result<Told> {
        let gone = || HealerError::Kernel("the recognizer is being restarted".to_owned());
        let (answer, told) = sync_channel(1);
        self.sender.send((judged, answer)).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())?
    }

    /// The kernel's body.
    pub fn live(&self, pulse: &Pulse) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        while !pulse.stopping() {
            pulse.beat();
            match receiver.recv_timeout(Duration::from_millis(500)) {
                Ok((judged, answer)) => {
                    let findings = judged.findings.len();
                    let told = self.store(&judged);
                    pulse.worked(u64::try_from(findings).unwrap_or(0));
                    // Nobody waits any more when `triggers` fell; it begins anew from the ledger.
                    let _nobody_waits = answer.send(told);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn store(&self, judged: &Judged) -> Result<Told> {
        self.desk.change(|draft| {
            let mut told = Told::default();
            for (process, cursor) in &judged.cursors {
                let cursor = grace_ledger::Cursor {
                    segment: cursor.segment,
                    offset: cursor.offset,
                };
                draft.tx().set_cursor(process, cursor)?;
            }
            for (detector, state) in &judged.states {
                draft.tx().set_detector_state(detector, state)?;
            }
            for (process, dropped, why) in &judged.gaps {
                let body = json!({ "journal": process, "dropped": dropped, "why": why });
                let at = draft.wall();
                draft.tx().append("gap", None, at, &body)?;
            }
            for (service, (detector, finding)) in &judged.findings {
                match draft.take(service, detector, finding)? {
                    Taken::Opened(_) | Taken::Reopened(_) => told.opened += 1,
                    Taken::Folded(_) | Taken::Related(_) => {}
                }
            }
            Ok(told)
        })
    }
}
