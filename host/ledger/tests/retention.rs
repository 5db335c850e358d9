//! Old entries go, and the chain stays one that can be verified; of a long ledger an open looks
//! only behind its mark.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use grace_ledger::{
    LEDGER_DAMAGED, Ledger, LedgerError, Opened, PRUNED, Queries, Reader, Retention,
};
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::IncidentState;
use serde_json::json;

use crate::sample::{fill, incident, open};

const START: u64 = 1_700_000_000_000;

fn keep(before: u64) -> Retention {
    Retention {
        before,
        max_bytes: u64::MAX,
        most: 1_000,
    }
}

fn prune(ledger: &Ledger, retention: &Retention) -> Option<grace_ledger::Pruned> {
    ledger
        .transaction(|tx| tx.prune(retention, START + 1_000_000))
        .unwrap_or_else(|error: LedgerError| panic!("{error}"))
}

/// Sixty incidents; those up to `over` are resolved and their runs have ended.
fn sixty(path: &Path, over: u64) -> Ledger {
    let (ledger, _) = open(path);
    fill(&ledger, 60);
    for number in 1..=over {
        let id = IncidentId(format!("inc-{number}"));
        ledger
            .transaction(|tx| {
                tx.put_incident(&incident(number, IncidentState::Resolved))?;
                tx.put_run(&RunId(format!("{id}/1")), &id, true, &json!({}))
            })
            .unwrap_or_else(|error: LedgerError| panic!("{error}"));
    }
    ledger
}

#[test]
fn old_entries_of_what_is_over_go_and_the_rest_verifies_also_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = sixty(&path, 40);
    let before = ledger.entries_after(30, 1_000).unwrap();
    let pruned = prune(&ledger, &keep(START + 31)).unwrap();
    assert_eq!((pruned.entries, pruned.through), (30, 30));
    assert_eq!(pruned.incidents.len(), 30);
    assert_eq!(prune(&ledger, &keep(START + 31)), None);
    assert_eq!(ledger.verify().unwrap(), 61);
    drop(ledger);
    let (ledger, opened) = open(&path);
    assert_eq!(opened, Opened::Verified { entries: 61 });
    let after = ledger.entries_after(0, 1_000).unwrap();
    assert_eq!(after[..30], before[..]);
    let told = after.last().unwrap();
    assert_eq!(
        (told.kind.as_str(), &told.body["through"]),
        (PRUNED, &json!(30))
    );
    assert_eq!(told.body["hash"], json!(after[0].prev));
    assert_eq!(ledger.incidents().unwrap().len(), 30);
    assert_eq!(ledger.runs().unwrap().len(), 30);
    // Numbers go on where they were.
    let next = ledger.transaction(|tx| tx.next_number("incident")).unwrap();
    assert_eq!(next, 61);
    // Twice: the anchor moves on, and the entry that told of the first may go too.
    assert_eq!(prune(&ledger, &keep(START + 36)).unwrap().through, 35);
    assert_eq!(ledger.verify().unwrap(), 62);
}

#[test]
fn what_is_not_over_keeps_its_entries_and_all_behind_them_but_not_beyond_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = sixty(&path, 10);
    assert_eq!(prune(&ledger, &keep(u64::MAX)).unwrap().through, 10);
    assert_eq!(prune(&ledger, &keep(u64::MAX)), None);
    let small = Retention {
        max_bytes: 1,
        most: 20,
        ..keep(0)
    };
    let pruned = prune(&ledger, &small).unwrap();
    assert_eq!((pruned.through, pruned.incidents), (30, Vec::new()));
    // The newest entry always stays.
    while prune(&ledger, &small).is_some_and(|pruned| pruned.entries > 1) {}
    assert_eq!(ledger.entries_after(0, 1_000).unwrap().len(), 2);
    ledger.verify().unwrap();
    assert_eq!(ledger.incidents().unwrap().len(), 50);
}

#[test]
fn what_was_put_under_keys_is_forgotten_by_prefix_and_age() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(&dir.path().join("ledger.db"));
    ledger
        .transaction(|tx| {
            tx.put("op:inc-1/1/a", &1)?;
            tx.put("op:inc-11/1/a", &1)?;
            tx.put("cooldown:a", &5)?;
            tx.put("cooldown:b", &50)?;
            tx.put("cooldown:c", &(5, 70, "boot"))?;
            tx.put("cooldown:d", &(50, 7, "boot"))?;
            tx.forget("op:inc-1/")?;
            tx.forget_below("cooldown:", 10)
        })
        .unwrap_or_else(|error: LedgerError| panic!("{error}"));
    let has = |key: &str| ledger.get(key).unwrap().is_some();
    assert_eq!(
        ["op:inc-1/1/a", "op:inc-11/1/a", "cooldown:a", "cooldown:b"].map(has),
        [false, true, false, true]
    );
    assert_eq!(
        ["cooldown:c", "cooldown:d"].map(has),
        [false, true],
        "a list goes by its first number"
    );
}

/// Changes one column of one row as somebody with `sqlite3` would.
fn tamper(path: &Path, sql: &str) {
    let done = std::process::Command::new("sqlite3")
        .arg(path)
        .arg(sql)
        .output();
    match done {
        Ok(done) => assert!(done.status.success(), "{done:?}"),
        Err(error) => panic!("sqlite3: {error}"),
    }
}

#[test]
fn entries_that_somebody_took_out_at_the_beginning_are_missed_though_the_anchor_was_forged() {
    let name =
        "entries_that_somebody_took_out_at_the_beginning_are_missed_though_the_anchor_was_forged";
    if grace_needs::tool(name, "sqlite3", "apt-get install sqlite3").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = sixty(&path, 40);
    prune(&ledger, &keep(START + 11)).unwrap();
    ledger.fold().unwrap();
    drop(ledger);
    tamper(&path, "DELETE FROM entries WHERE seq <= 20");
    let (ledger, opened) = open(&path);
    let Opened::Salvaged { reason, .. } = opened else {
        panic!("{opened:?}");
    };
    assert!(reason.contains("it is missing, 21 comes next"), "{reason}");
    ledger.verify().unwrap();
}

/// Flips a bit in the text of the entry with this number, in the database file itself.
fn flip(path: &Path, number: u64) {
    let bytes = fs::read(path).unwrap();
    let wanted = format!("{{\"number\":{number},");
    let places: Vec<usize> = bytes
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, part)| *part == wanted.as_bytes())
        .map(|(place, _)| place)
        .collect();
    let [place, ..] = places[..] else {
        panic!("entry {number} is nowhere");
    };
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"X", place as u64 + 3).unwrap();
}

#[test]
fn a_flipped_bit_behind_the_anchor_is_salvaged_with_the_anchor_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = sixty(&path, 40);
    prune(&ledger, &keep(START + 31)).unwrap();
    ledger.fold().unwrap();
    drop(ledger);
    flip(&path, 45);
    let (ledger, opened) = open(&path);
    let Opened::Salvaged { kept, salvaged, .. } = opened else {
        panic!("{opened:?}");
    };
    // 31 to 44 in their places, 46 to 61 taken over from behind the damage.
    assert_eq!((kept, salvaged), (44, 16));
    assert_eq!(ledger.entries_after(0, 1).unwrap()[0].seq, 31);
    assert_eq!(ledger.latest_of_kind(LEDGER_DAMAGED, 1).unwrap()[0].seq, 45);
    ledger.verify().unwrap();
    drop(ledger);
    assert!(matches!(open(&path).1, Opened::Verified { .. }));
}

#[test]
fn a_damaged_anchor_loses_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = sixty(&path, 40);
    prune(&ledger, &keep(START + 31)).unwrap();
    let first = ledger.entries_after(0, 1).unwrap().remove(0);
    ledger.fold().unwrap();
    drop(ledger);
    let bytes = fs::read(&path).unwrap();
    let note = format!("30 {}", first.prev);
    let place = bytes
        .windows(note.len())
        .position(|part| part == note.as_bytes())
        .unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"9", place as u64).unwrap();
    let (ledger, opened) = open(&path);
    let Opened::Salvaged { salvaged, .. } = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(salvaged, 31);
    ledger.verify().unwrap();
}

#[test]
fn a_long_ledger_is_opened_from_its_mark_and_a_bit_flipped_before_it_is_found_by_the_verification()
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (ledger, _) = open(&path);
    let long = 20_500;
    for part in 0..41 {
        ledger
            .transaction(|tx| {
                for number in 1..=500_u64 {
                    tx.append(
                        "note",
                        None,
                        1,
                        &json!({ "number": part * 500 + number, "t": "words" }),
                    )?;
                }
                Ok(())
            })
            .unwrap_or_else(|error: LedgerError| panic!("{error}"));
    }
    assert_eq!(ledger.mark_verified().unwrap(), long);
    ledger
        .transaction(|tx| tx.append("note", None, 1, &json!({ "number": 99_999, "t": "words" })))
        .unwrap_or_else(|error: LedgerError| panic!("{error}"));
    ledger.fold().unwrap();
    drop(ledger);
    let marked = Opened::Since {
        entries: long + 1,
        mark: long,
    };
    assert_eq!(open(&path).1, marked);
    flip(&path, 7);
    // The open does not look there, and says so...
    let (ledger, opened) = open(&path);
    assert_eq!(opened, marked);
    // ...the verification does, and takes the mark away...
    let found = ledger.mark_verified().unwrap_err();
    assert!(
        matches!(&found, LedgerError::Broken(broken) if broken.seq == 7),
        "{found}"
    );
    assert!(Reader::open(&path).unwrap().verify().is_err());
    drop(ledger);
    // ...so that the next open salvages.
    let (_ledger, opened) = open(&path);
    assert!(
        matches!(
            opened,
            Opened::Salvaged {
                kept: 6,
                salvaged: 20_494,
                ..
            }
        ),
        "{opened:?}"
    );
}

#[test]
fn behind_the_mark_a_flipped_bit_is_noticed_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (ledger, _) = open(&path);
    let notes = |from: u64, to: u64| {
        ledger
            .transaction(|tx| {
                for number in from..=to {
                    tx.append("note", None, 1, &json!({ "number": number, "t": "words" }))?;
                }
                Ok(())
            })
            .unwrap_or_else(|error: LedgerError| panic!("{error}"));
    };
    notes(1, 20_001);
    ledger.mark_verified().unwrap();
    notes(20_002, 20_010);
    ledger.fold().unwrap();
    drop(ledger);
    flip(&path, 20_005);
    let (_ledger, opened) = open(&path);
    assert!(
        matches!(
            opened,
            Opened::Salvaged {
                kept: 20_004,
                salvaged: 5,
                ..
            }
        ),
        "{opened:?}"
    );
}

#[test]
fn a_folded_ledger_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (ledger, _) = open(&path);
    fill(&ledger, 20);
    let log = dir.path().join("ledger.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    ledger.fold().unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    let copy = dir.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(Reader::open(&copy).unwrap().count().unwrap(), 20);
}

#[test]
fn an_earlier_grace_is_refused_a_ledger_that_let_entries_go_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = sixty(&path, 40);
    let version = || {
        let reader = Reader::open(&path).unwrap();
        reader
            .with(|c| {
                let sql = "SELECT value FROM meta WHERE name = 'version'";
                Ok(c.query_row(sql, [], |row| row.get::<_, String>(0))?)
            })
            .unwrap()
    };
    assert_eq!(version(), "1");
    prune(&ledger, &keep(START + 31)).unwrap();
    assert_eq!(version(), "2");
}
