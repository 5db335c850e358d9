//! The kernel `ledger`: verifies the whole record now and then, lets go what need not be kept, and
//! has the process end when the record turns out damaged, since only an open salvages it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grace_ledger::{LedgerError, Opened, Retention};
use grace_model::incident::IncidentState;
use grace_model::plugin::{Field, Finding, Severity};

use crate::clock::Clock;
use crate::desk::Desk;
use crate::error::Result;
use crate::heal::rules::{LEDGER_DAMAGED, Timing};
use crate::kernel::Pulse;
use crate::signal::convert::HOST;

/// Entries that go in one transaction: a few milliseconds, in which nothing else is written.
const AT_ONCE: u32 = 1_000;
/// Between two of them.
const BREATH: Duration = Duration::from_millis(50);
/// A wall clock that runs ahead of the steady one by more than this has jumped: nothing is taken
/// for old because of it.
const AHEAD_MS: u64 = 24 * 3_600_000;
/// After the start, before what the open did not look at is verified.
const SOON_MS: u64 = 5_000;

/// What the kernel needs.
pub struct Record {
    /// Incidents and the ledger.
    pub desk: Arc<Desk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Waiting times and bounds.
    pub timing: Timing,
    /// What the open left out.
    pub unseen: AtomicBool,
    /// Set when the process is to end, so that the next one salvages: why.
    pub damaged: Arc<OnceLock<String>>,
}

impl Record {
    /// The kernel's body.
    pub fn live(&self, pulse: &Pulse) {
        let (begun_wall, begun) = (self.clock.wall_ms(), self.clock.steady_ms());
        let mut verified = begun;
        let mut pruned = begun;
        while !pulse.stopping() {
            pulse.rest(Duration::from_secs(1).min(Duration::from_millis(self.timing.prune_ms)));
            let now = self.clock.steady_ms();
            let first = self.unseen.load(Ordering::Acquire)
                && now.saturating_sub(begun) >= SOON_MS.min(self.timing.verify_ms);
            if first || now.saturating_sub(verified) >= self.timing.verify_ms {
                verified = now;
                self.verify(pulse);
            }
            if now.saturating_sub(pruned) >= self.timing.prune_ms {
                pruned = now;
                let most = begun_wall
                    .saturating_add(now.saturating_sub(begun))
                    .saturating_add(AHEAD_MS);
                self.let_go(pulse, self.clock.wall_ms().min(most));
            }
        }
    }

    fn verify(&self, pulse: &Pulse) {
        match self.desk.ledger().mark_verified() {
            Ok(entries) => {
                self.unseen.store(false, Ordering::Release);
                pulse.worked(entries);
            }
            Err(e @ (LedgerError::Broken(_) | LedgerError::Damaged(_))) => {
                tracing::error!(cause = %e, "the ledger does not verify; it is salvaged by the next start");
                let _first = self.damaged.set(e.to_string());
            }
            Err(e) => tracing::warn!(cause = %e, "the ledger could not be verified now"),
        }
    }

    fn let_go(&self, pulse: &Pulse, now: u64) {
        let keep = Retention {
            before: now.saturating_sub(self.timing.keep_ms),
            max_bytes: self.timing.max_bytes,
            most: AT_ONCE,
        };
        while !pulse.stopping() {
            match self.desk.change(|draft| draft.let_go(&keep)) {
                Ok(None) => return,
                Ok(Some(pruned)) => {
                    pulse.worked(pruned.entries);
                    tracing::info!(
                        entries = pruned.entries,
                        through = pruned.through,
                        incidents = pruned.incidents.len(),
                        "the ledger let old entries go"
                    );
                    if pruned.entries < u64::from(AT_ONCE) {
                        return;
                    }
                }
                Err(e) => {
                    tracing::warn!(cause = %e, "old entries could not be let go now");
                    return;
                }
            }
            pulse.rest(BREATH);
        }
    }
}

/// Says what was found at open; damage is an incident.
///
/// # Errors
/// What the ledger says.
pub fn report(desk: &Desk, opened: &Opened) -> Result<()> {
    match opened {
        Opened::Fresh => tracing::info!("a new ledger"),
        Opened::Verified { entries } => tracing::info!(entries, "the ledger verifies"),
        Opened::Since { entries, mark } => tracing::info!(
            entries,
            mark,
            "the ledger verifies behind its mark; the rest is verified soon"
        ),
        Opened::Salvaged {
            damaged,
            kept,
            salvaged,
            reason,
        } => {
            let damaged = damaged.display().to_string();
            tracing::error!(damaged, kept, salvaged, reason, "the ledger was damaged");
            let evidence = vec![
                Field::new("damaged", damaged),
                Field::new("kept", *kept),
                Field::new("salvaged", *salvaged),
            ];
            open_damage(desk, reason, evidence)?;
        }
    }
    Ok(())
}

/// An incident that no playbook heals: what is lost, only a person can judge.
fn open_damage(desk: &Desk, reason: &str, evidence: Vec<Field>) -> Result<()> {
    let finding = Finding {
        kind: LEDGER_DAMAGED.to_owned(),
        target: HOST.to_owned(),
        severity: Severity::Critical,
        confidence_permille: 1_000,
        summary: format!("the ledger was damaged: {reason}; the damaged file is kept"),
        cause: "the ledger does not verify".to_owned(),
        evidence,
    };
    desk.change(|draft| {
        let taken = draft.take(HOST, "ledger", &finding)?;
        let id = taken.incident().clone();
        let state = draft.get(&id).map(|incident| incident.state);
        if state.is_some_and(|state| state.may_become(IncidentState::Escalated)) {
            let why = "what was lost only a person can judge";
            draft.become_(&id, IncidentState::Escalated, why)?;
        }
        Ok(())
    })
}
