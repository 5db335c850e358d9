//! Governance: whether a playbook may run now. Pure: the book of orders, questions and what was
//! spent is a value that its owner stores; time is handed in. It must not know incidents' lives
//! nor who keeps the book.

mod book;
mod judge;
#[cfg(test)]
mod tests;

use grace_model::govern::{Approval, Need, Orders, Spent};
use grace_model::playbook::{Playbook, Step, Undo};
use grace_model::plugin::{ActionInfo, Risk, Severity};
use serde::{Deserialize, Serialize};

pub use judge::{Case, Rule, Verdict, judge};

/// Answered questions that are kept, for those who ask what became of theirs.
pub const KEPT_ANSWERS: usize = 64;
/// Questions that may wait for an answer at once: more than people will ever read.
pub const MOST_PENDING: usize = 256;

/// All that governance remembers. Stored whole with every change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// Standing orders.
    pub orders: Orders,
    /// Questions, oldest first.
    pub approvals: Vec<Approval>,
    /// Runs that changed something within the window, or still may.
    pub spent: Vec<Spent>,
    /// Questions put so far.
    pub asked: u64,
}

/// The actions of `playbook` that change something, for a finding of this severity. An action
/// that nobody describes is taken for the riskiest, since nothing is known of it.
#[must_use]
pub fn needs(playbook: &Playbook, severity: Severity, actions: &[ActionInfo]) -> Vec<Need> {
    let steps = playbook.branches.get(&severity).unwrap_or(&playbook.steps);
    let mut needs = Vec::new();
    for step in steps.iter().chain(&playbook.verify) {
        add(step, actions, &mut needs);
    }
    needs
}

fn add(step: &Step, actions: &[ActionInfo], needs: &mut Vec<Need>) {
    let info = actions.iter().find(|info| info.name == step.action);
    let risk = info.map_or(Risk::High, |info| info.risk);
    if risk > Risk::None {
        needs.push(Need {
            action: step.action.clone(),
            risk,
            tries: step.retries.saturating_add(1),
        });
    }
    for check in &step.verify {
        add(check, actions, needs);
    }
    // What takes the step back may be asked about too, but it is not counted as spent: a limit
    // must never keep half of a change in place.
    if let Undo::Step(undo) = &step.undo {
        let mut taking_back = Vec::new();
        add(undo, actions, &mut taking_back);
        needs.extend(
            taking_back
                .into_iter()
                .map(|need| Need { tries: 0, ..need }),
        );
    }
}

/// Whether `allow` names the action: by its name, or its whole pack as `pack.*`.
#[must_use]
pub fn allows(allow: &[String], action: &str) -> bool {
    allow.iter().any(|rule| match rule.strip_suffix(".*") {
        Some(pack) => action
            .strip_prefix(pack)
            .is_some_and(|rest| rest.starts_with('.')),
        None => rule == action,
    })
}
