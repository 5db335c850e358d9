//! One run of a playbook as a pure machine: given the run and what happened, the next thing to
//! do. It must not know who does it, nor any clock but the one it is handed.
//!
//! The whole run is one value that is stored as JSON before every effect. Whoever reads it back
//! gets the same call again, with the same key and attempt, so that its operation ids are the
//! same and a receiver that remembers them makes the effect happen once.

mod machine;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use grace_model::id::{IncidentId, PlaybookId, RunId};
use grace_model::playbook::{Playbook, Step, Undo};
use grace_model::plugin::{Finding, Receipt, Value};
use serde::{Deserialize, Serialize};

pub use machine::outline;
pub use scope::{condition_holds, filled, scope_of};

/// Longest wait between two tries of a step.
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// Time that an undo, a message or the wait for a ready target may take.
const OWN_STEP_MS: u64 = 30_000;

/// A run. Times are milliseconds of a steady clock that a change of the wall clock does not move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// For which incident.
    pub incident: IncidentId,
    /// As it was when the run began: a later edit of the file does not change a run.
    pub playbook: Playbook,
    /// What it is about.
    pub finding: Finding,
    /// The incident's.
    pub signature: String,
    /// When it began.
    pub begun_ms: u64,
    /// When it was last looked at.
    pub seen_ms: u64,
    /// What is being done.
    pub stage: Stage,
    /// The call in progress.
    pub pending: Option<Call>,
    /// Steps that took effect and were not taken back, in order.
    pub done: Vec<Done>,
    /// What steps answered, for `${step.NAME}`.
    pub outputs: BTreeMap<String, BTreeMap<String, Value>>,
    /// Why it failed.
    pub failure: Option<String>,
    /// What a person must know about an incomplete rollback.
    pub left_behind: Vec<String>,
    /// Playbooks that were already tried for this incident, with this one.
    pub chain: Vec<PlaybookId>,
    /// Notes since the last [`Run::take_notes`].
    pub notes: Vec<Note>,
    stack: Vec<Frame>,
    stop: Option<String>,
    told: bool,
}

/// What a run is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// The steps.
    Steps,
    /// The verification of the whole.
    Verify,
    /// What `on_failure` says; `next` is the entry after the present one.
    Failing {
        /// See above.
        next: usize,
    },
    /// Nothing any more.
    Ended {
        /// How it went.
        end: End,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// Every step and every verification succeeded.
    Succeeded,
    /// It failed; a person must look.
    Failed {
        /// Why.
        reason: String,
    },
    /// It failed, and another playbook is to be tried for the same incident.
    Fallback {
        /// Which.
        playbook: PlaybookId,
        /// Why.
        reason: String,
    },
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Store the run, make this call, then [`Run::finish`].
    Call(Call),
    /// Ask again at this time.
    Wait {
        /// By the steady clock.
        until_ms: u64,
    },
    /// It is over.
    Ended(End),
}

/// One effect of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Unique in the run beside `attempt`; both are in the operation ids.
    pub key: String,
    /// From 1.
    pub attempt: u32,
    /// Time it may take.
    pub timeout_ms: u64,
    /// What to do.
    pub effect: Effect,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
pub enum Effect {
    /// Run an action.
    Act {
        /// `pack.verb`.
        action: String,
        /// Filled in.
        params: BTreeMap<String, Value>,
    },
    /// Take back what a receipt says.
    Undo {
        /// `pack.verb`.
        action: String,
        /// Of the step.
        receipt: Receipt,
    },
    /// The playbook declares no verification: see that the target is ready.
    Settle {
        /// Instance or service.
        target: String,
    },
    /// Tell people.
    Tell {
        /// Channel.
        channel: String,
        /// What went wrong.
        text: String,
    },
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It went well.
    Done(Receipt),
    /// It did not.
    Failed {
        /// Why.
        reason: String,
        /// Whether trying again can help.
        retry: bool,
    },
}

/// A step that took effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The call's key.
    pub key: String,
    /// The step.
    pub step: Step,
    /// What it answered.
    pub receipt: Receipt,
}

/// Something that happened between two calls, for the incident's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The step's key; empty for the run.
    pub step: String,
    /// `skipped`, `retry`, `gave-up`, `failed`, `stage`.
    pub kind: String,
    /// For a person.
    pub text: String,
}

/// A list of things in work. Frames are stacked: a step's own verification is worked on above
/// the step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Frame {
    items: Vec<Item>,
    at: usize,
    attempt: u32,
    /// The item's action has succeeded; its verification is next.
    acted: bool,
    not_before_ms: u64,
    prefix: String,
    kind: FrameKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FrameKind {
    /// A step may say that its failure is no matter.
    Steps,
    /// Every item must succeed.
    Checks,
    /// Goes on whatever fails: undo and messages.
    Lenient,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "kebab-case")]
enum Item {
    Step {
        step: Step,
    },
    Undo {
        id: String,
        step: Step,
        receipt: Receipt,
    },
    Settle,
    Tell {
        channel: String,
    },
}

impl Item {
    fn id(&self) -> &str {
        match self {
            Item::Step { step } => &step.id,
            Item::Undo { id, .. } => id,
            Item::Settle => "settle",
            Item::Tell { channel } => channel,
        }
    }
    fn retries(&self) -> u32 {
        match self {
            Item::Step { step } => step.retries,
            Item::Undo { step, .. } => step.retries.max(2),
            Item::Settle => 0,
            Item::Tell { .. } => 2,
        }
    }
    fn backoff_ms(&self) -> u64 {
        match self {
            Item::Step { step } | Item::Undo { step, .. } => step.backoff_ms,
            Item::Settle | Item::Tell { .. } => 1_000,
        }
    }
    fn timeout_ms(&self) -> u64 {
        match self {
            Item::Step { step } => step.timeout_ms,
            Item::Undo { step, .. } => step.timeout_ms.max(OWN_STEP_MS),
            Item::Settle | Item::Tell { .. } => OWN_STEP_MS,
        }
    }
    fn checks(&self) -> &[Step] {
        match self {
            Item::Step { step } => &step.verify,
            _ => &[],
        }
    }
}

/// What taking back `done` means, or none when there is nothing to take back.
fn undo_item(index: usize, done: Done) -> Option<Item> {
    if !done.receipt.changed {
        return None;
    }
    match &done.step.undo {
        Undo::None => None,
        // The action left nothing to undo it by.
        Undo::Auto if done.receipt.undo.is_empty() => None,
        Undo::Auto => Some(Item::Undo {
            id: format!("undo-{index}-{}", done.step.id),
            step: done.step,
            receipt: done.receipt,
        }),
        Undo::Step(step) => {
            let mut step = (**step).clone();
            step.id = format!("undo-{index}-{}", done.step.id);
            Some(Item::Step { step })
        }
    }
}
