//! A playbook after it was read and checked: what to do about a finding. `plan` reads YAML
//! into this and checks it; the healer runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::PlaybookId;
use crate::plugin::{Severity, Value};

/// A checked playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playbook {
    /// Its id.
    pub id: PlaybookId,
    /// Its author's count of changes.
    pub version: u32,
    /// What it is for.
    pub description: String,
    /// Any of these starts it.
    pub triggers: Vec<Trigger>,
    /// All must hold, else the playbook is passed over.
    pub preconditions: Vec<Expression>,
    /// Defaults for `${params.NAME}`.
    pub parameters: BTreeMap<String, Value>,
    /// In order.
    pub steps: Vec<Step>,
    /// Instead of `steps` when the finding has this severity.
    pub branches: BTreeMap<Severity, Vec<Step>>,
    /// After the steps: all must succeed.
    pub verify: Vec<Step>,
    /// When a step or a verification failed.
    pub on_failure: Vec<OnFailure>,
    /// Not again for the same signature and target within this time.
    pub cooldown_ms: u64,
    /// The whole run must be over in this time.
    pub slo_ms: Option<u64>,
    /// Higher goes first when several match.
    pub priority: i32,
    /// Where it came from, for messages.
    pub origin: String,
}

/// What starts a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// A finding's kind.
    pub finding: String,
    /// At least this bad.
    pub severity: Option<Severity>,
    /// Only for targets of this service.
    pub service: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the playbook.
    pub id: String,
    /// `pack.verb`.
    pub action: String,
    /// Before `${...}` is filled in. A whole-text `${x}` keeps the type of x.
    pub params: BTreeMap<String, Value>,
    /// Only when this holds.
    pub condition: Option<Expression>,
    /// Time a try may take.
    pub timeout_ms: u64,
    /// Tries beyond the first.
    pub retries: u32,
    /// Wait before the first further try; it doubles.
    pub backoff_ms: u64,
    /// When all tries failed.
    pub on_failure: StepFailure,
    /// Checked after the step; part of its success.
    pub verify: Vec<Step>,
    /// How to take it back.
    pub undo: Undo,
}

/// What a failed step means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepFailure {
    /// The run has failed.
    Abort,
    /// The run goes on.
    Continue,
}

/// How a step is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undo {
    /// By the action's own `undo`.
    Auto,
    /// It needs none: the author says so, or the action changes nothing lasting.
    None,
    /// By another action.
    Step(Box<Step>),
}

/// What to do when a run failed, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Undo every step that was done, last first. Done before all else when the playbook says
    /// neither this nor [`OnFailure::Keep`].
    Rollback,
    /// Leave what was done as it is.
    Keep,
    /// Tell people: the channel.
    Escalate(String),
    /// Run another playbook for the same incident.
    Playbook(PlaybookId),
}

/// A checked expression: see `plan::expression`. Kept as its text; evaluation parses it again,
/// which is cheap beside what an action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub String);
