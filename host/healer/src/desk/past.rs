//! What incidents were: their lives told again from the ledger, change by change, for whoever was
//! away meanwhile. It reads only.

use grace_ledger::{Entry, Ledger, Queries};
use grace_model::id::{PlaybookId, RunId};
use grace_model::incident::{Incident, IncidentState};
use grace_model::port::IncidentChanges;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Result;

/// Entries of one look: enough for a burst, and the ledger is not held for long.
const PART: u32 = 256;

/// The changes of incidents' states behind entry `after`. None when the ledger has fewer entries.
///
/// # Errors
/// What the ledger says.
pub fn changes(ledger: &Ledger, after: u64) -> Result<Option<IncidentChanges>> {
    let entries = ledger.entries_after(after, PART)?;
    if entries.is_empty() && ledger.count()? < after {
        return Ok(None);
    }
    let mut told = IncidentChanges {
        seq: entries.last().map_or(after, |entry| entry.seq),
        changes: Vec::new(),
    };
    for entry in entries.iter().filter(|entry| entry.kind == "incident") {
        let Some(id) = &entry.incident else { continue };
        let Some(now) = ledger.incident(id)? else {
            continue;
        };
        if let Some(then) = as_it_was(now, &ledger.entries_of(id)?, entry.seq) {
            told.changes.push((entry.seq, then));
        }
    }
    Ok(Some(told))
}

/// An incident as it was after entry `seq`, from what it is now and all that was written about it.
fn as_it_was(now: Incident, entries: &[Entry], seq: u64) -> Option<Incident> {
    let mut then = Incident {
        playbook: None,
        run: None,
        recurrences: 0,
        ..now
    };
    for entry in entries.iter().take_while(|entry| entry.seq <= seq) {
        let get = |key: &str| entry.body.get(key).unwrap_or(&Value::Null);
        match entry.kind.as_str() {
            "incident" => {
                then.state = read(get("to"))?;
                then.resolved_at = then.state.at_rest().then_some(entry.at);
                if then.state == IncidentState::Open && !get("from").is_null() {
                    then.recurrences += 1;
                }
                if entry.seq == seq {
                    then.last_seen_at = then.last_seen_at.min(entry.at);
                }
            }
            // It is written between two arrows: the next one is the first that has it.
            "run-started" => {
                then.playbook = read::<PlaybookId>(get("playbook"));
                then.run = read::<RunId>(get("run"));
            }
            _ => {}
        }
    }
    Some(then)
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use grace_model::id::IncidentId;
    use grace_model::plugin::{Finding, Severity};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_incident_is_told_as_it_was_after_each_change() {
        let bodies = [
            ("finding", json!({})),
            ("incident", json!({ "to": "open", "signature": "s" })),
            ("incident", json!({ "from": "open", "to": "diagnosing" })),
            (
                "run-started",
                json!({ "run": "inc-1/1", "playbook": "instance-hang" }),
            ),
            ("incident", json!({ "from": "diagnosing", "to": "healing" })),
            ("step-started", json!({})),
            ("incident", json!({ "from": "healing", "to": "verifying" })),
            ("incident", json!({ "from": "verifying", "to": "resolved" })),
            ("incident", json!({ "from": "resolved", "to": "open" })),
        ];
        let id = IncidentId::from("inc-1");
        let entries: Vec<Entry> = bodies
            .into_iter()
            .zip(1..)
            .map(|((kind, body), seq)| Entry {
                seq,
                at: 100 + seq,
                kind: kind.to_owned(),
                incident: Some(id.clone()),
                body,
                prev: String::new(),
                hash: String::new(),
            })
            .collect();
        let now = Incident {
            id,
            signature: "s".to_owned(),
            state: IncidentState::Open,
            target: "shop-1".to_owned(),
            finding: Finding {
                kind: "instance-hang".to_owned(),
                target: "shop-1".to_owned(),
                severity: Severity::Major,
                confidence_permille: 1_000,
                summary: "it hangs".to_owned(),
                cause: "hang".to_owned(),
                evidence: Vec::new(),
            },
            findings: 2,
            playbook: Some("instance-hang".into()),
            run: Some(RunId("inc-1/1".to_owned())),
            opened_at: 102,
            last_seen_at: 109,
            resolved_at: None,
            recurrences: 1,
        };
        let told: Vec<_> = [2, 3, 5, 7, 8, 9]
            .into_iter()
            .map(|seq| {
                let then = as_it_was(now.clone(), &entries, seq).unwrap();
                (
                    then.state.word(),
                    then.run.is_some(),
                    then.resolved_at,
                    then.recurrences,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("open", false, None, 0),
                ("diagnosing", false, None, 0),
                ("healing", true, None, 0),
                ("verifying", true, None, 0),
                ("resolved", true, Some(108), 0),
                ("open", true, None, 1),
            ]
        );
        assert_eq!(as_it_was(now.clone(), &entries, 9), Some(now));
    }
}
