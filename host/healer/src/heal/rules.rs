//! What is to be done about incidents that no playbook holds, by time and state alone. Pure.

use std::collections::HashMap;

use grace_model::config::Healing;
use grace_model::id::IncidentId;
use grace_model::incident::{Incident, IncidentState};
use grace_model::playbook::Playbook;
use grace_plan::run::Run;

use crate::desk::{Board, overlap};

/// Waiting times of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// An incident without a run, not seen for this long while its target is ready, is over.
    pub quiet_ms: u64,
    /// One whose target was healed for another incident meanwhile is over after this.
    pub quiet_after_other_ms: u64,
    /// One that nothing heals is a person's after this.
    pub escalate_ms: u64,
    /// Between two looks at the fleet.
    pub fleet_ms: u64,
    /// Between two verifications of the whole ledger.
    pub verify_ms: u64,
    /// Between two looks at what the ledger may let go.
    pub prune_ms: u64,
    /// It keeps entries for so long.
    pub keep_ms: u64,
    /// And not more than this.
    pub max_bytes: u64,
}

impl Timing {
    /// As the configuration says; what it does not name, as always.
    #[must_use]
    pub fn of(healing: &Healing) -> Self {
        Self {
            quiet_ms: healing.quiet_ms,
            // Part of the first: a short one must not be passed by this.
            quiet_after_other_ms: Self::default().quiet_after_other_ms.min(healing.quiet_ms),
            escalate_ms: healing.escalate_ms,
            keep_ms: healing.ledger_keep_ms,
            max_bytes: healing.ledger_max_bytes,
            ..Self::default()
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            quiet_ms: 60_000,
            quiet_after_other_ms: 5_000,
            escalate_ms: 300_000,
            fleet_ms: 250,
            verify_ms: 3_600_000,
            prune_ms: 60_000,
            keep_ms: Healing::default().ledger_keep_ms,
            max_bytes: Healing::default().ledger_max_bytes,
        }
    }
}

/// The finding of a damaged ledger: no quiet makes it good.
pub const LEDGER_DAMAGED: &str = "ledger-damaged";

/// What to do about an incident.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Run this playbook.
    Run(IncidentId, Box<Playbook>, String),
    /// It is over.
    Resolve(IncidentId, String),
    /// A person must look.
    Escalate(IncidentId, String),
}

/// Whether a playbook can run for an incident now.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// This one, and why.
    Run(Box<Playbook>, String),
    /// None, and why.
    None(String),
    /// None before a person decides, and why.
    Person(String),
}

/// A target whose playbook has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// When, by the steady clock.
    pub at_ms: u64,
    /// For which incident it ran.
    pub by: IncidentId,
    /// Whether it went well.
    pub ok: bool,
}

/// What the decisions are made from, beside the incidents.
pub struct Facts<'f> {
    /// By the steady clock.
    pub now_ms: u64,
    /// Waiting times.
    pub timing: Timing,
    /// Whether playbooks run at all.
    pub playbooks: bool,
    /// Runs that may still be started.
    pub room: usize,
    /// Whether a target is ready.
    pub ready: &'f dyn Fn(&str) -> bool,
    /// The playbook for an incident.
    pub choose: &'f dyn Fn(&Incident) -> Choice,
    /// Whether a person has said that its playbook may run.
    pub approved: &'f dyn Fn(&IncidentId) -> bool,
    /// Why it has come back too often to be healed the same way again.
    pub flaps: &'f dyn Fn(&Incident) -> Option<String>,
    /// Targets that were freed.
    pub freed: &'f HashMap<String, Freed>,
}

/// What is to be done now.
#[must_use]
pub fn decide(board: &Board, facts: &Facts<'_>) -> Vec<Decision> {
    if !facts.playbooks {
        // Nothing heals, so nothing is decided: incidents stay for whoever watches.
        return Vec::new();
    }
    let mut open: Vec<&Incident> = board.unresolved().collect();
    open.sort_by_key(|incident| std::cmp::Reverse(incident.finding.severity));
    let mut decisions = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for incident in open {
        let decision = match incident.state {
            IncidentState::Open => for_open(board, facts, incident, &taken),
            IncidentState::Escalated => for_escalated(board, facts, incident, &taken),
            _ => None,
        };
        if let Some(Decision::Run(..)) = &decision {
            if taken.len() >= facts.room {
                continue;
            }
            taken.push(&incident.target);
        }
        decisions.extend(decision);
    }
    decisions
}

fn for_open(
    board: &Board,
    facts: &Facts<'_>,
    incident: &Incident,
    taken: &[&str],
) -> Option<Decision> {
    let times = board.times(&incident.id)?;
    let target = incident.target.as_str();
    let quiet_ms = facts.now_ms.saturating_sub(times.seen_ms);
    let id = || incident.id.clone();
    if let Some(freed) = freed_since(facts, target, times.seen_ms) {
        let since_ms = facts.now_ms.saturating_sub(freed.at_ms);
        if since_ms < facts.timing.quiet_after_other_ms {
            return None;
        }
        if (facts.ready)(target) {
            let why = format!("went away with {}", freed.by);
            return Some(Decision::Resolve(id(), why));
        }
    }
    if board.busy_with(target).is_some() || taken.iter().any(|other| overlap(other, target)) {
        return None;
    }
    if !(facts.approved)(&incident.id)
        && let Some(why) = (facts.flaps)(incident)
    {
        return Some(Decision::Escalate(id(), why));
    }
    let problem = match (facts.choose)(incident) {
        Choice::Run(playbook, why) => return Some(Decision::Run(id(), playbook, why)),
        Choice::Person(why) => return Some(Decision::Escalate(id(), why)),
        Choice::None(problem) => problem,
    };
    if quiet_ms >= facts.timing.quiet_ms && (facts.ready)(target) {
        return Some(Decision::Resolve(id(), "went away by itself".to_owned()));
    }
    let open_ms = facts.now_ms.saturating_sub(times.opened_ms);
    (open_ms >= facts.timing.escalate_ms).then(|| {
        Decision::Escalate(
            id(),
            format!("open for {} s and not healed: {problem}", open_ms / 1_000),
        )
    })
}

/// Over when it is quiet; tried again, ever more rarely, while it is not.
fn for_escalated(
    board: &Board,
    facts: &Facts<'_>,
    incident: &Incident,
    taken: &[&str],
) -> Option<Decision> {
    if incident.finding.kind == LEDGER_DAMAGED {
        return None;
    }
    let times = board.times(&incident.id)?;
    let target = incident.target.as_str();
    let quiet_ms = facts
        .now_ms
        .saturating_sub(times.seen_ms.max(times.state_ms));
    if quiet_ms >= facts.timing.quiet_ms && (facts.ready)(target) {
        let why = "went away by itself after it was escalated".to_owned();
        return Some(Decision::Resolve(incident.id.clone(), why));
    }
    let wait_ms = retry_after(facts.timing.escalate_ms, runs_of(incident));
    let waited = facts.now_ms.saturating_sub(times.state_ms) >= wait_ms;
    let still_comes = times.seen_ms > times.state_ms;
    let held = board.busy_with(target).is_some() || taken.iter().any(|t| overlap(t, target));
    let approved = (facts.approved)(&incident.id);
    if held || !approved && (!waited || !still_comes) {
        return None;
    }
    match (facts.choose)(incident) {
        Choice::Run(playbook, why) if approved => {
            Some(Decision::Run(incident.id.clone(), playbook, why))
        }
        Choice::Run(playbook, why) => {
            let why = format!(
                "it still comes {} s after it was escalated; {why}",
                wait_ms / 1_000
            );
            Some(Decision::Run(incident.id.clone(), playbook, why))
        }
        Choice::None(_) | Choice::Person(_) => None,
    }
}

/// Longest time between two tries of an escalated incident.
const RETRY_MAX_MS: u64 = 3_600_000;

fn retry_after(first_ms: u64, runs: u32) -> u64 {
    let doublings = runs.saturating_sub(1).min(16);
    first_ms
        .saturating_mul(1 << doublings)
        .min(RETRY_MAX_MS.max(first_ms))
}

/// The N of `INCIDENT/N`, the number of runs so far.
fn runs_of(incident: &Incident) -> u32 {
    let number = incident
        .run
        .as_ref()
        .and_then(|run| run.as_str().rsplit_once('/')?.1.parse().ok());
    number.unwrap_or(0)
}

/// A successful run on the same target that ended after the incident was last seen.
fn freed_since<'f>(facts: &Facts<'f>, target: &str, seen_ms: u64) -> Option<&'f Freed> {
    facts
        .freed
        .iter()
        .filter(|(other, freed)| overlap(other, target) && freed.ok && freed.at_ms > seen_ms)
        .map(|(_, freed)| freed)
        .max_by_key(|freed| freed.at_ms)
}

/// What every key of a cooldown begins with. Its value is when the run ended: by the wall, by the
/// steady clock, and since which start of the machine that one counts.
pub const COOLDOWN: &str = "cooldown:";

/// Where the ledger remembers when a playbook last ended for a signature and target.
#[must_use]
pub fn cooldown_key(run: &Run) -> String {
    cooldown_key_of(
        run.playbook.id.as_str(),
        &run.signature,
        &run.finding.target,
    )
}

/// As [`cooldown_key`], before there is a run.
#[must_use]
pub fn cooldown_key_of(playbook: &str, signature: &str, target: &str) -> String {
    format!("{COOLDOWN}{playbook}:{signature}:{target}")
}
