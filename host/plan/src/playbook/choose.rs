//! Which playbook answers a finding, and why not the others.

use grace_model::TimestampMs;
use grace_model::id::{IncidentId, PlaybookId};
use grace_model::playbook::{Playbook, Trigger};
use grace_model::plugin::Finding;
use serde::{Deserialize, Serialize};

use super::duration::words;
use super::expression::evaluate;
use super::scope::{Scope, severity_word};

/// What a playbook is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Case<'c> {
    /// The finding.
    pub finding: &'c Finding,
    /// The service of its target, if it has one.
    pub service: Option<&'c str>,
    /// The incident's id.
    pub incident: &'c IncidentId,
    /// The incident's signature.
    pub signature: &'c str,
    /// The time to judge cooldowns by.
    pub now: TimestampMs,
}

/// When a playbook last ran for a signature and a target: the end of that run, or its begin
/// while it goes on.
pub type History<'h> = &'h dyn Fn(&PlaybookId, &str, &str) -> Option<TimestampMs>;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The answer.
    pub chosen: Chosen,
    /// Every playbook that was looked at, the best match first.
    pub considered: Vec<Considered>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "chosen", rename_all = "kebab-case")]
pub enum Chosen {
    /// Run this one.
    Playbook {
        /// Which.
        id: PlaybookId,
    },
    /// All that match ran too recently.
    InCooldown {
        /// The first that may run again.
        id: PlaybookId,
        /// When.
        until: TimestampMs,
    },
    /// None matches.
    None,
}

/// One playbook and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    /// Which.
    pub playbook: PlaybookId,
    /// Whether it was taken.
    pub taken: bool,
    /// Why, or why not, for a person.
    pub reason: String,
}

/// Chooses by priority, then by the most specific trigger (a service counts more than a
/// severity, a higher severity more than a lower), then by id. One in cooldown is passed over.
#[must_use]
pub fn choose(case: &Case<'_>, playbooks: &[Playbook], history: History<'_>) -> Choice {
    let mut matching = Vec::new();
    let mut others = Vec::new();
    for playbook in playbooks {
        match best_trigger(case, playbook) {
            Ok(specific) => matching.push((playbook, specific)),
            Err(Some(reason)) => others.push(passed(playbook, reason)),
            Err(None) => {}
        }
    }
    matching.sort_by(|(a, specific_a), (b, specific_b)| {
        (b.priority, specific_b)
            .cmp(&(a.priority, specific_a))
            .then_with(|| a.id.cmp(&b.id))
    });
    let mut considered = Vec::new();
    let mut chosen: Option<&Playbook> = None;
    let mut cooling: Option<(TimestampMs, PlaybookId)> = None;
    for (playbook, _) in matching {
        if let Some(chosen) = chosen {
            let reason = format!("`{}` goes first", chosen.id);
            considered.push(passed(playbook, reason));
            continue;
        }
        if let Err(reason) = preconditions_hold(case, playbook) {
            considered.push(passed(playbook, reason));
            continue;
        }
        if let Some(until) = cooldown_end(case, playbook, history) {
            let left = words(until - case.now);
            considered.push(passed(playbook, format!("in cooldown for another {left}")));
            let entry = (until, playbook.id.clone());
            cooling = Some(cooling.map_or(entry.clone(), |first| first.min(entry)));
            continue;
        }
        chosen = Some(playbook);
        let reason = format!("triggered by {}", case.finding.kind);
        considered.push(Considered {
            playbook: playbook.id.clone(),
            taken: true,
            reason,
        });
    }
    considered.extend(others);
    let chosen = match (chosen, cooling) {
        (Some(playbook), _) => Chosen::Playbook {
            id: playbook.id.clone(),
        },
        (None, Some((until, id))) => Chosen::InCooldown { id, until },
        (None, None) => Chosen::None,
    };
    Choice { chosen, considered }
}

fn passed(playbook: &Playbook, reason: String) -> Considered {
    Considered {
        playbook: playbook.id.clone(),
        taken: false,
        reason,
    }
}

/// How specific the best matching trigger is. `Err(Some)`: only the kind of finding matches.
fn best_trigger(case: &Case<'_>, playbook: &Playbook) -> Result<(bool, u8), Option<String>> {
    let mut near = None;
    let mut best = None;
    for trigger in playbook
        .triggers
        .iter()
        .filter(|t| t.finding == case.finding.kind)
    {
        match misses(case, trigger) {
            None => best = best.max(Some(specific(trigger))),
            Some(reason) => near = Some(reason),
        }
    }
    best.ok_or(near)
}

fn misses(case: &Case<'_>, trigger: &Trigger) -> Option<String> {
    if let Some(severity) = trigger.severity
        && case.finding.severity < severity
    {
        return Some(format!(
            "for {} findings and worse, this one is {}",
            severity_word(severity),
            severity_word(case.finding.severity)
        ));
    }
    match &trigger.service {
        Some(service) if case.service != Some(service) => {
            Some(format!("only for service `{service}`"))
        }
        _ => None,
    }
}

fn specific(trigger: &Trigger) -> (bool, u8) {
    let severity = trigger.severity.map_or(0, |severity| severity as u8 + 1);
    (trigger.service.is_some(), severity)
}

fn preconditions_hold(case: &Case<'_>, playbook: &Playbook) -> Result<(), String> {
    if playbook.preconditions.is_empty() {
        return Ok(());
    }
    let scope = Scope::of(case.finding, case.incident, case.signature, playbook);
    for condition in &playbook.preconditions {
        match evaluate(condition, &scope) {
            Ok(true) => {}
            Ok(false) => return Err(format!("`{}` does not hold", condition.0)),
            Err(error) => return Err(format!("`{}`: {error}", condition.0)),
        }
    }
    Ok(())
}

fn cooldown_end(case: &Case<'_>, playbook: &Playbook, history: History<'_>) -> Option<TimestampMs> {
    let last = history(&playbook.id, case.signature, &case.finding.target)?;
    // A clock that was set back must not make the wait longer than it was declared.
    let until = last.min(case.now).saturating_add(playbook.cooldown_ms);
    (until > case.now).then_some(until)
}
