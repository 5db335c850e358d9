//! The verdict on one playbook that is about to run. The order of the questions matters: what
//! stops everything comes first, what only costs time comes last.

use grace_model::govern::{Answer, Governance, Mode, Moment, Need};
use grace_model::id::IncidentId;
use grace_model::plugin::Risk;

use super::{Book, allows};

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Case<'c> {
    /// For which incident.
    pub incident: &'c IncidentId,
    /// The service of its target.
    pub service: &'c str,
    /// Instances that the service is to have.
    pub instances: u32,
    /// What the playbook may change: see [`super::needs`].
    pub needs: &'c [Need],
    /// Of the playbook as it is.
    pub digest: &'c str,
    /// What the service lets run without a question.
    pub allow: &'c [String],
    /// Runs of this service that change something and are not over.
    pub in_hand: u32,
    /// A person starts it, and is asked nothing more.
    pub by_hand: bool,
    /// Now.
    pub now: &'c Moment,
}

/// Which rule holds something up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The kill switch.
    KillSwitch,
    /// A change freeze.
    Freeze,
    /// Instances in hand at once.
    Blast,
    /// Changes in a time.
    Rate,
}

/// What is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Go,
    /// It would run, and only that is told.
    Observe,
    /// Not now; later it may. The rule, and what it says for a person.
    Hold(Rule, String),
    /// Not before somebody has said yes to these.
    Ask(Vec<Need>),
    /// The question was put and is not answered yet: its id.
    Pending(String),
    /// Somebody said no, nobody answered in time, or no limit will ever let it pass.
    Never(String),
}

/// Judges a case.
#[must_use]
pub fn judge(book: &Book, rules: &Governance, case: &Case<'_>) -> Verdict {
    if case.needs.is_empty() {
        // It looks and tells. No order is about that.
        return Verdict::Go;
    }
    if let Some(killed) = &book.orders.killed {
        return Verdict::Hold(
            Rule::KillSwitch,
            format!(
                "the kill switch was thrown by {}{}; `grace kill-switch off` lets go of it",
                killed.by,
                because(&killed.why)
            ),
        );
    }
    if book.mode(rules) == Mode::Observe && !case.by_hand {
        return Verdict::Observe;
    }
    if let Some((freeze, left_ms)) = book.freeze_at(case.now) {
        let end = left_ms.map_or_else(
            || "until `grace freeze off`".to_owned(),
            |ms| format!("for another {} s", ms.div_ceil(1_000)),
        );
        return Verdict::Hold(
            Rule::Freeze,
            format!(
                "changes are frozen {end}, by {}{}",
                freeze.given.by,
                because(&freeze.given.why)
            ),
        );
    }
    let actions: u32 = wanted(case.needs);
    if actions > rules.actions {
        return Verdict::Never(format!(
            "it may make {actions} changes and {} are allowed in {} s: raise `actions` under [governance]",
            rules.actions,
            rules.window_ms / 1_000
        ));
    }
    if !case.by_hand
        && let Some(verdict) = asked(book, rules, case)
    {
        return verdict;
    }
    let most = hands(rules, case.instances);
    if case.in_hand >= most {
        return Verdict::Hold(
            Rule::Blast,
            format!(
                "{} of {}'s {} instances are in the hands of playbooks, and {most} may be at once",
                case.in_hand, case.service, case.instances
            ),
        );
    }
    let spent = book.spent_at(rules, case.now);
    if spent.saturating_add(actions) > rules.actions {
        return Verdict::Hold(
            Rule::Rate,
            format!(
                "playbooks made {spent} changes in the last {} s, it may make {actions}, and {} are allowed",
                rules.window_ms / 1_000,
                rules.actions
            ),
        );
    }
    Verdict::Go
}

/// None: nothing is to be asked, or the answer was yes.
fn asked(book: &Book, rules: &Governance, case: &Case<'_>) -> Option<Verdict> {
    let from = rules.ask?;
    let risky: Vec<Need> = case
        .needs
        .iter()
        .filter(|need| need.risk >= from.max(Risk::Low))
        .filter(|need| !allows(&rules.allow, &need.action) && !allows(case.allow, &need.action))
        .cloned()
        .collect();
    if risky.is_empty() {
        return None;
    }
    let Some(approval) = book.question(case.incident, case.digest) else {
        return Some(Verdict::Ask(risky));
    };
    let who = approval
        .answered
        .as_ref()
        .map_or_else(String::new, |given| {
            format!(" by {}{}", given.by, because(&given.why))
        });
    match approval.answer {
        Answer::Approved => None,
        Answer::Pending => Some(Verdict::Pending(approval.id.clone())),
        Answer::Denied => Some(Verdict::Never(format!("{} was denied{who}", approval.id))),
        Answer::Expired => Some(Verdict::Never(format!(
            "nobody answered {} within {} s",
            approval.id,
            rules.answer_ms / 1_000
        ))),
        // It ran once, or was closed unanswered: another run is another question.
        Answer::Used | Answer::Withdrawn => Some(Verdict::Ask(risky)),
    }
}

/// Changes that it may make, tries counted.
pub(super) fn wanted(needs: &[Need]) -> u32 {
    needs
        .iter()
        .fold(0_u32, |sum, need| sum.saturating_add(need.tries))
}

/// Instances of a service of `instances` that may be in hand at once: at least one, since
/// nothing would ever be healed otherwise.
fn hands(rules: &Governance, instances: u32) -> u32 {
    let share = u64::from(instances) * u64::from(rules.blast_percent);
    u32::try_from(share.div_ceil(100))
        .unwrap_or(u32::MAX)
        .max(1)
}

fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({why})")
    }
}
