//! A ledger with some of everything in it.

use std::path::Path;

use grace_ledger::{Cursor, Ledger, LedgerError, Opened};
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::{Incident, IncidentState};
use grace_model::plugin::{Finding, Severity};
use serde_json::json;

pub fn incident(number: u64, state: IncidentState) -> Incident {
    Incident {
        id: IncidentId(format!("inc-{number}")),
        signature: format!("sig-{number}"),
        state,
        target: "shop-1".into(),
        finding: Finding {
            kind: "instance-crash".into(),
            target: "shop-1".into(),
            severity: Severity::Major,
            confidence_permille: 900,
            summary: "shop-1 died".into(),
            cause: "signal:9".into(),
            evidence: vec![],
        },
        findings: 1,
        playbook: Some("instance-crash".into()),
        run: None,
        opened_at: 1_700_000_000_000 + number,
        last_seen_at: 1_700_000_000_000 + number,
        resolved_at: None,
        recurrences: 0,
    }
}

/// `count` transactions, each with an entry and all kinds of state.
pub fn fill(ledger: &Ledger, count: u64) {
    for number in 1..=count {
        ledger
            .transaction(|tx| {
                let n = tx.next_number("incident")?;
                assert_eq!(n, number);
                let id = IncidentId(format!("inc-{n}"));
                let body = json!({"number": n, "text": "some words ".repeat((n % 17) as usize)});
                tx.append("finding", Some(&id), 1_700_000_000_000 + n, &body)?;
                tx.put_incident(&incident(n, IncidentState::Open))?;
                tx.put_run(
                    &RunId(format!("{id}/1")),
                    &id,
                    n % 2 == 0,
                    &json!({"step": n}),
                )?;
                tx.set_cursor(
                    "proxy",
                    Cursor {
                        segment: 1,
                        offset: n * 100,
                    },
                )?;
                tx.set_detector_state("crash", &n.to_le_bytes())?;
                tx.put("note", &json!({"n": n}))
            })
            .unwrap_or_else(|error: LedgerError| panic!("{error}"));
    }
}

pub fn open(path: &Path) -> (Ledger, Opened) {
    Ledger::open(path).unwrap()
}
