//! An incident for people: as one line, and as its story.

use anstyle::Style;
use grace_model::incident::{Incident, IncidentState};
use grace_model::port::Story;
use serde_json::Value;

use super::{BAD, BUSY, DIM, GOOD, age, clock, moment, paint};

/// The state's colour.
pub fn style(state: IncidentState) -> Style {
    match state {
        IncidentState::Resolved => GOOD,
        IncidentState::Escalated => BAD,
        _ => BUSY,
    }
}

/// One line about what it is now.
pub fn line(incident: &Incident) -> String {
    let playbook = match &incident.playbook {
        Some(playbook) => format!(" by {playbook}"),
        None => String::new(),
    };
    format!(
        "{} {:<7} {} {}{playbook}: {}",
        paint(
            DIM,
            &clock(incident.resolved_at.unwrap_or(incident.last_seen_at))
        ),
        incident.id,
        incident.target,
        paint(style(incident.state), incident.state.word()),
        incident.finding.summary,
    )
}

/// All that was written about it.
pub fn story(story: &Story) -> Vec<String> {
    let incident = &story.incident;
    let mut lines = vec![
        format!(
            "{}  {}",
            incident.id,
            paint(style(incident.state), incident.state.word())
        ),
        format!(
            "  about      {} ({})",
            incident.target, incident.finding.kind
        ),
        format!("  finding    {}", incident.finding.summary),
        format!("  signature  {}", incident.signature),
        format!("  opened     {}", moment(incident.opened_at)),
    ];
    if let Some(at) = incident.resolved_at {
        let took = age(at.saturating_sub(incident.opened_at));
        lines.push(format!("  ended      {} (after {took})", moment(at)));
    }
    if incident.findings > 1 || incident.recurrences > 0 {
        lines.push(format!(
            "  seen       {} times, came back {} times",
            incident.findings, incident.recurrences
        ));
    }
    lines.push(String::new());
    let first = story.entries.first().map_or(0, |entry| entry.at);
    for entry in &story.entries {
        let after = format!("+{}", age(entry.at.saturating_sub(first)));
        lines.push(format!(
            "  {after:>9}  {:<18} {}",
            entry.kind,
            body(&entry.body)
        ));
    }
    lines
}

/// The short values of an entry: `name=value`, nested ones by their inner names.
fn body(value: &Value) -> String {
    let mut parts = Vec::new();
    collect("", value, &mut parts);
    parts.join(" ")
}

fn collect(name: &str, value: &Value, parts: &mut Vec<String>) {
    const LONGEST: usize = 200;
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                collect(key, value, parts);
            }
        }
        Value::Array(list) if list.is_empty() => {}
        Value::Array(list) if list.iter().all(|one| named(one).is_some()) => {
            for (name, value) in list.iter().filter_map(named) {
                collect(name, value, parts);
            }
        }
        Value::Array(_) => parts.push(format!("{name}={}", cut(&value.to_string(), LONGEST))),
        Value::String(text) if text.is_empty() => {}
        Value::String(text) if text.contains(char::is_whitespace) => {
            parts.push(format!("{name}={:?}", cut(text, LONGEST)));
        }
        Value::String(text) => parts.push(format!("{name}={}", cut(text, LONGEST))),
        other => parts.push(format!("{name}={other}")),
    }
}

/// A field of a finding or a receipt: `{"name": .., "value": ..}`.
fn named(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 2)?;
    Some((map.get("name")?.as_str()?, map.get("value")?))
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_told_by_its_values() {
        let value = serde_json::json!({
            "action": "fleet.restart", "params": {"target": "shop-1", "n": 2}, "none": null,
            "why": "it hung", "list": [1, 2], "empty": "",
            "evidence": [{"name": "pid", "value": 7}]
        });
        let text = body(&value);
        for part in [
            "action=fleet.restart",
            "target=shop-1",
            "n=2",
            "why=\"it hung\"",
            "list=[1,2]",
            "pid=7",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("none") && !text.contains("empty"), "{text}");
        assert!(cut(&"ü".repeat(300), 200).ends_with("ü..."));
    }
}
