//! A playbook in plain English, a line each.

use grace_model::playbook::{OnFailure, Playbook, Step, StepFailure, Trigger, Undo};

use super::duration::words;
use super::scope::severity_word;

/// The lines. Indentation shows what belongs to what.
#[must_use]
pub fn explain(playbook: &Playbook) -> Vec<String> {
    let mut lines = vec![format!(
        "{} (version {}): {}",
        playbook.id, playbook.version, playbook.description
    )];
    for trigger in &playbook.triggers {
        lines.push(started_by(trigger));
    }
    for condition in &playbook.preconditions {
        lines.push(format!("Only if {}.", condition.0));
    }
    for (name, value) in &playbook.parameters {
        lines.push(format!("`params.{name}` is {value}."));
    }
    if !playbook.steps.is_empty() {
        lines.push("Steps:".to_owned());
        numbered(&playbook.steps, &mut lines);
    }
    for (severity, steps) in &playbook.branches {
        lines.push(format!(
            "When the finding is {}, instead:",
            severity_word(*severity)
        ));
        numbered(steps, &mut lines);
    }
    match playbook.verify.as_slice() {
        [] => lines.push("Then the target must be ready again.".to_owned()),
        checks => {
            lines.push("Then all of this must hold:".to_owned());
            numbered(checks, &mut lines);
        }
    }
    match playbook.on_failure.as_slice() {
        [] => lines.push("If that fails, the incident is escalated.".to_owned()),
        entries => {
            let entries: Vec<String> = entries.iter().map(failure).collect();
            lines.push(format!("If that fails: {}.", entries.join(", then ")));
        }
    }
    if let Some(slo) = playbook.slo_ms {
        lines.push(format!("The whole run may take {}.", words(slo)));
    }
    if playbook.cooldown_ms > 0 {
        let time = words(playbook.cooldown_ms);
        lines.push(format!(
            "Not again for the same failure of the same target within {time}."
        ));
    }
    if playbook.priority != 0 {
        lines.push(format!("Priority {}.", playbook.priority));
    }
    lines
}

fn started_by(trigger: &Trigger) -> String {
    if trigger.finding == "manual" {
        return "Started by people or by another playbook.".to_owned();
    }
    let severity = trigger
        .severity
        .map(|severity| format!(" that is at least {}", severity_word(severity)))
        .unwrap_or_default();
    let service = trigger
        .service
        .as_ref()
        .map(|service| format!(" in service `{service}`"))
        .unwrap_or_default();
    format!(
        "Started by a finding `{}`{severity}{service}.",
        trigger.finding
    )
}

fn numbered(steps: &[Step], lines: &mut Vec<String>) {
    for (index, step) in steps.iter().enumerate() {
        lines.push(format!("  {}. {}", index + 1, sentence(step)));
        for check in &step.verify {
            lines.push(format!("     and check: {}", sentence(check)));
        }
    }
}

fn sentence(step: &Step) -> String {
    let mut text = call(step);
    if let Some(condition) = &step.condition {
        text = format!("if {}: {text}", condition.0);
    }
    text.push_str(&format!(", within {}", words(step.timeout_ms)));
    if step.retries > 0 {
        let backoff = words(step.backoff_ms);
        text.push_str(&format!(
            ", tried again up to {} times from {backoff} on",
            step.retries
        ));
    }
    if step.on_failure == StepFailure::Continue {
        text.push_str(", go on if it fails");
    }
    match &step.undo {
        Undo::Auto => text.push_str(", can be undone"),
        Undo::None => {}
        Undo::Step(undo) => text.push_str(&format!(", undone by {}", call(undo))),
    }
    format!("{text}.")
}

fn call(step: &Step) -> String {
    let params: Vec<String> = step
        .params
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if params.is_empty() {
        step.action.clone()
    } else {
        format!("{} ({})", step.action, params.join(", "))
    }
}

fn failure(entry: &OnFailure) -> String {
    match entry {
        OnFailure::Rollback => "undo what was done, last first".to_owned(),
        OnFailure::Keep => "leave what was done as it is".to_owned(),
        OnFailure::Escalate(channel) => format!("tell `{channel}`"),
        OnFailure::Playbook(id) => format!("try playbook `{id}`"),
    }
}
