//! Incidents: the deduplicated, tracked problem and its life.

use serde::{Deserialize, Serialize};

use crate::TimestampMs;
use crate::id::{IncidentId, PlaybookId, RunId};
use crate::plugin::Finding;

/// Where an incident is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// A finding opened it.
    Open,
    /// A playbook is being chosen.
    Diagnosing,
    /// A playbook runs.
    Healing,
    /// Its effect is being checked.
    Verifying,
    /// It is over.
    Resolved,
    /// A person must look.
    Escalated,
}

impl IncidentState {
    /// Whether the life may go from here to `next`.
    #[must_use]
    pub fn may_become(self, next: IncidentState) -> bool {
        use IncidentState as S;
        match self {
            S::Open => matches!(next, S::Diagnosing | S::Resolved | S::Escalated),
            S::Diagnosing => matches!(next, S::Healing | S::Resolved | S::Escalated),
            S::Healing => matches!(next, S::Verifying | S::Diagnosing | S::Escalated),
            S::Verifying => matches!(next, S::Resolved | S::Diagnosing | S::Escalated),
            S::Resolved => matches!(next, S::Open),
            S::Escalated => matches!(next, S::Open | S::Diagnosing | S::Resolved),
        }
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn at_rest(self) -> bool {
        matches!(self, IncidentState::Resolved | IncidentState::Escalated)
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            IncidentState::Open => "open",
            IncidentState::Diagnosing => "diagnosing",
            IncidentState::Healing => "healing",
            IncidentState::Verifying => "verifying",
            IncidentState::Resolved => "resolved",
            IncidentState::Escalated => "escalated",
        }
    }
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// Stable fingerprint of the failure.
    pub signature: String,
    /// Where it is in its life.
    pub state: IncidentState,
    /// Instance or service it is about.
    pub target: String,
    /// The finding that opened it.
    pub finding: Finding,
    /// Findings folded into it, with the first.
    pub findings: u64,
    /// The playbook that runs or ran last.
    pub playbook: Option<PlaybookId>,
    /// Its run.
    pub run: Option<RunId>,
    /// When the first finding came.
    pub opened_at: TimestampMs,
    /// When the last finding came.
    pub last_seen_at: TimestampMs,
    /// When it was resolved or escalated.
    pub resolved_at: Option<TimestampMs>,
    /// Times it came back after it was resolved.
    pub recurrences: u64,
}
