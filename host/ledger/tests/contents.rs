//! What is written is read back, by this process and by others.

use grace_ledger::{Cursor, Ledger, LedgerError, Opened, Queries, Reader};
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::IncidentState;
use serde_json::json;

use crate::sample::{fill, incident, open};

#[test]
fn everything_written_is_read_back_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (ledger, opened) = open(&path);
    assert_eq!(opened, Opened::Fresh);
    fill(&ledger, 20);
    drop(ledger);
    let (ledger, opened) = open(&path);
    assert_eq!(opened, Opened::Verified { entries: 20 });
    let of = ledger.entries_of(&IncidentId::from("inc-7")).unwrap();
    assert_eq!(of.len(), 1);
    assert_eq!(
        (of[0].seq, of[0].at, of[0].kind.as_str()),
        (7, 1_700_000_000_007, "finding")
    );
    assert_eq!(of[0].body["number"], 7);
    let incidents = ledger.incidents().unwrap();
    let ids: Vec<_> = incidents.iter().map(|i| i.id.0.clone()).collect();
    assert_eq!(ids[8..11], ["inc-9", "inc-10", "inc-11"]);
    assert_eq!(incidents[3], incident(4, IncidentState::Open));
    let unfinished = ledger.runs_unfinished().unwrap();
    assert_eq!(unfinished.len(), 10);
    assert_eq!(unfinished[4].id, RunId::from("inc-9/1"));
    assert_eq!(unfinished[4].json, json!({"step": 9}));
    assert_eq!(
        ledger.cursor("proxy").unwrap(),
        Some(Cursor {
            segment: 1,
            offset: 2000
        })
    );
    assert_eq!(ledger.cursor("supervisor").unwrap(), None);
    assert_eq!(
        ledger.detector_state("crash").unwrap(),
        Some(20_u64.to_le_bytes().to_vec())
    );
    assert_eq!(ledger.get("note").unwrap(), Some(json!({"n": 20})));
    assert_eq!(ledger.get("other").unwrap(), None);
    let next = ledger.transaction(|tx| tx.next_number("incident")).unwrap();
    assert_eq!(next, 21);
}

#[test]
fn a_transaction_that_answers_an_error_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(&dir.path().join("ledger.db"));
    fill(&ledger, 3);
    let answer: Result<(), LedgerError> = ledger.transaction(|tx| {
        tx.append("note", None, 1, &"lost")?;
        tx.put("note", &"lost")?;
        assert_eq!(
            tx.get("note")?,
            Some(json!("lost")),
            "it sees its own writes"
        );
        Err(LedgerError::Busy)
    });
    assert!(matches!(answer, Err(LedgerError::Busy)));
    assert_eq!(ledger.verify().unwrap(), 3);
    assert_eq!(ledger.get("note").unwrap(), Some(json!({"n": 3})));
}

#[test]
fn an_incident_and_a_run_are_replaced_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(&dir.path().join("ledger.db"));
    fill(&ledger, 4);
    ledger
        .transaction(|tx| {
            tx.put_incident(&incident(2, IncidentState::Resolved))?;
            tx.put_run(
                &RunId::from("inc-1/1"),
                &IncidentId::from("inc-1"),
                true,
                &json!({}),
            )
        })
        .unwrap();
    let incidents = ledger.incidents().unwrap();
    assert_eq!(incidents.len(), 4);
    assert_eq!(incidents[1].state, IncidentState::Resolved);
    let runs: Vec<_> = ledger
        .runs()
        .unwrap()
        .into_iter()
        .map(|r| (r.id.0, r.finished))
        .collect();
    assert_eq!(runs[0], ("inc-1/1".to_owned(), true));
    assert_eq!(ledger.runs_of(&IncidentId::from("inc-2")).unwrap().len(), 1);
}

#[test]
fn only_one_process_writes_while_readers_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    assert!(matches!(Reader::open(&path), Err(LedgerError::File { .. })));
    let (ledger, _) = open(&path);
    fill(&ledger, 5);
    assert!(matches!(Ledger::open(&path), Err(LedgerError::InUse(_))));
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.verify().unwrap(), 5);
    ledger
        .transaction(|tx| tx.append("note", None, 1, &1))
        .unwrap();
    assert_eq!(reader.count().unwrap(), 6);
    assert_eq!(reader.entries_after(4, 10).unwrap().len(), 2);
    drop(ledger);
    assert_eq!(reader.verify().unwrap(), 6);
    let (_ledger, opened) = open(&path);
    assert_eq!(opened, Opened::Verified { entries: 6 });
}

#[test]
fn threads_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(&dir.path().join("ledger.db"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    ledger
                        .transaction(|tx| {
                            let number = tx.next_number("n")?;
                            tx.append("note", None, number, &number)
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(ledger.verify().unwrap(), 40);
}

#[test]
fn the_plain_sqlite3_program_reads_the_documented_views() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (ledger, _) = open(&path);
    fill(&ledger, 3);
    let name = "the_plain_sqlite3_program_reads_the_documented_views";
    let Some(sqlite3) = grace_needs::tool(name, "sqlite3", "apt-get install sqlite3") else {
        return;
    };
    let ask = |sql: &str| {
        std::process::Command::new(&sqlite3)
            .arg(&path)
            .arg(sql)
            .output()
            .map(|output| {
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                String::from_utf8(output.stdout).unwrap()
            })
    };
    let record = ask("SELECT * FROM record LIMIT 1").unwrap();
    assert!(
        record.starts_with("1|2023-11-14 22:13:20.001|finding|inc-1|{"),
        "{record}"
    );
    let incidents = ask("SELECT * FROM incident_list").unwrap();
    assert!(
        incidents.contains("inc-3|open|instance-crash|shop-1|sig-3"),
        "{incidents}"
    );
    assert!(
        ask("SELECT * FROM run_list")
            .unwrap()
            .contains("inc-2/1|inc-2|over")
    );
    assert!(
        ask("SELECT * FROM cursor_list")
            .unwrap()
            .contains("proxy|1|300")
    );
    assert!(
        ask(".schema record")
            .unwrap()
            .contains("-- every decision with its time")
    );
}
