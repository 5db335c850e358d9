//! A ledger entry in a few words. Pure.

use serde_json::Value;

use crate::fleet::Entry;

/// What happened, for a person.
pub fn words(entry: &Entry) -> String {
    let body = &entry.body;
    let text = |key: &str| words_of(&body[key]);
    let took = match body["duration_ms"].as_u64() {
        Some(ms) => format!(" ({ms} ms)"),
        None => String::new(),
    };
    match entry.kind.as_str() {
        "finding" => format!(
            "detector {}: {}",
            text("detector"),
            words_of(&body["finding"]["summary"])
        ),
        // Why is what the detector said.
        "incident" if body["to"] == "open" && body["from"].is_null() => {
            format!("incident open, signature {}", text("signature"))
        }
        "incident" => format!("incident {}: {}", text("to"), text("why")),
        "run-started" => format!("playbook {} begins", text("playbook")),
        "run-resumed" => "a new healer goes on with the playbook".to_owned(),
        "run-ended" => format!("playbook {} ends{took}", text("playbook")),
        "step-started" => match body["what"].as_str() {
            Some("undo") => format!("step {}: {} is taken back", text("step"), text("action")),
            Some("run") => format!("step {}: {} begins", text("step"), text("action")),
            _ => format!("step {} begins", text("step")),
        },
        "step-done" => format!("step {}: {}{took}", text("step"), text("summary")),
        "step-failed" => format!("step {} failed: {}{took}", text("step"), text("reason")),
        other => format!("{other} {}", text("text")).trim_end().to_owned(),
    }
}

fn words_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(kind: &str, body: Value) -> Entry {
        Entry {
            seq: 1,
            at: 2,
            kind: kind.to_owned(),
            body,
        }
    }

    #[test]
    fn an_incidents_entries_are_told_in_plain_words() {
        for (kind, body, told) in [
            (
                "finding",
                json!({"detector": "hang", "finding": {"summary": "shop-2 hangs"}}),
                "detector hang: shop-2 hangs",
            ),
            (
                "incident",
                json!({"to": "resolved", "why": "it helped", "duration_ms": 3}),
                "incident resolved: it helped",
            ),
            (
                "incident",
                json!({"to": "open", "why": "shop-2 hangs", "signature": "c0ffee"}),
                "incident open, signature c0ffee",
            ),
            (
                "run-started",
                json!({"playbook": "instance-hang"}),
                "playbook instance-hang begins",
            ),
            (
                "step-started",
                json!({"step": "again", "what": "run", "action": "fleet.restart"}),
                "step again: fleet.restart begins",
            ),
            (
                "step-started",
                json!({"step": "again", "what": "undo", "action": "fleet.restart"}),
                "step again: fleet.restart is taken back",
            ),
            (
                "step-done",
                json!({"step": "again", "summary": "restarted", "duration_ms": 7}),
                "step again: restarted (7 ms)",
            ),
            (
                "step-failed",
                json!({"step": "again", "reason": "no such"}),
                "step again failed: no such",
            ),
            ("step-note", json!({"text": "skipped"}), "step-note skipped"),
        ] {
            assert_eq!(words(&entry(kind, body)), told);
        }
    }
}
