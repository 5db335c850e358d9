//! A flipped bit anywhere is never passed over in silence, and loses nothing.

use std::fs;
use std::path::{Path, PathBuf};

use grace_ledger::{Entry, LEDGER_DAMAGED, Ledger, LedgerError, Opened, Queries, Reader, SALVAGED};
use grace_model::id::IncidentId;
use proptest::prelude::*;

use crate::sample::{fill, open};

const ENTRIES: u64 = 60;

/// A ledger's files, and the entries in them.
struct Whole {
    files: Vec<(&'static str, Vec<u8>)>,
    entries: Vec<Entry>,
    state: String,
}

fn state_of(queries: &impl Queries) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        queries.incidents().unwrap(),
        queries.runs().unwrap(),
        queries.cursor("proxy").unwrap(),
        queries.detector_state("crash").unwrap(),
        queries.get("note").unwrap(),
    )
}

/// Closed in order, or as a killed process leaves it: most of it in the log.
fn whole(closed: bool) -> Whole {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (ledger, _) = open(&path);
    fill(&ledger, ENTRIES);
    let entries = ledger.entries_after(0, 1000).unwrap();
    let state = state_of(&ledger);
    let kept = (!closed).then_some(ledger);
    let files = ["", "-wal", "-head"]
        .into_iter()
        .filter_map(|suffix| {
            let file = dir.path().join(format!("ledger.db{suffix}"));
            Some((suffix, fs::read(file).ok()?))
        })
        .collect();
    drop(kept);
    Whole {
        files,
        entries,
        state,
    }
}

impl Whole {
    fn write(&self, dir: &Path) -> PathBuf {
        for (suffix, bytes) in &self.files {
            fs::write(dir.join(format!("ledger.db{suffix}")), bytes).unwrap();
        }
        dir.join("ledger.db")
    }

    fn bytes(&self, suffix: &str) -> &[u8] {
        &self
            .files
            .iter()
            .find(|(name, _)| *name == suffix)
            .unwrap()
            .1
    }
}

/// Opens a changed copy and checks every promise. True: the damage was noticed.
fn judge(whole: &Whole, change: impl FnOnce(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = whole.write(dir.path());
    change(&path);
    let changed = fs::read(&path).ok();
    let (ledger, opened) = Ledger::open(&path).unwrap();
    let entries = ledger.entries_after(0, 1000).unwrap();
    let noticed = match opened {
        Opened::Fresh => panic!("the entries are gone and nobody says so"),
        Opened::Since { .. } => panic!("it is too short for a mark"),
        Opened::Verified { entries: count } => {
            assert_eq!(count, ENTRIES);
            assert_eq!(entries, whole.entries);
            assert_eq!(state_of(&ledger), whole.state);
            false
        }
        Opened::Salvaged {
            damaged,
            kept,
            salvaged,
            reason,
        } => {
            assert_eq!(
                fs::read(&damaged).ok(),
                changed,
                "the damaged file is kept as it was"
            );
            let kept = kept as usize;
            assert_eq!(entries[..kept], whole.entries[..kept]);
            let note = &entries[kept];
            assert_eq!(note.kind, LEDGER_DAMAGED);
            assert_eq!(note.body["file"], damaged.display().to_string());
            assert!(!reason.is_empty());
            let rest = &entries[kept + 1..];
            assert_eq!(rest.len() as u64, salvaged);
            for entry in rest {
                let original = &whole.entries[entry.body["seq"].as_u64().unwrap() as usize - 1];
                assert_eq!(entry.kind, SALVAGED);
                assert_eq!(entry.body["body"], original.body);
                assert_eq!(entry.body["hash"], original.hash);
                assert_eq!(entry.incident, original.incident);
            }
            true
        }
    };
    let next = ledger.transaction(|tx| tx.next_number("incident")).unwrap();
    assert!(next > ENTRIES, "number {next} was given before");
    ledger
        .transaction(|tx| tx.append("note", None, 1, &"after"))
        .unwrap();
    let count = ledger.verify().unwrap();
    drop(ledger);
    let (_ledger, opened) = Ledger::open(&path).unwrap();
    assert_eq!(opened, Opened::Verified { entries: count });
    noticed
}

fn flip(path: &Path, place: usize, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= mask;
    fs::write(path, bytes).unwrap();
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Where an entry's words lie in the file.
fn find(bytes: &[u8], needle: &str) -> usize {
    bytes
        .windows(needle.len())
        .position(|window| window == needle.as_bytes())
        .unwrap()
}

/// So many, or as many as `PROPTEST_CASES` says.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

#[test]
fn a_changed_entry_is_noticed_and_the_entries_before_and_after_it_are_kept() {
    let whole = whole(true);
    let place = find(whole.bytes(""), "{\"number\":30,");
    let dir = tempfile::tempdir().unwrap();
    let path = whole.write(dir.path());
    flip(&path, place + 11, 1);
    let reader = Reader::open(&path).unwrap();
    match reader.verify() {
        Err(LedgerError::Broken(broken)) => assert_eq!(broken.seq, 30),
        other => panic!("{other:?}"),
    }
    drop(reader);
    let (ledger, opened) = open(&path);
    match opened {
        Opened::Salvaged {
            kept,
            salvaged,
            damaged,
            reason,
        } => {
            assert_eq!((kept, salvaged), (29, 30));
            assert!(reason.contains("30"), "{reason}");
            assert!(damaged.to_string_lossy().contains("ledger.db.damaged-"));
            let old = Reader::open(&damaged).unwrap();
            assert_eq!(old.count().unwrap(), 60, "nothing was deleted");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ledger.incidents().unwrap().len(), 60);
    assert_eq!(
        ledger
            .entries_of(&IncidentId::from("inc-45"))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_changed_row_of_state_is_noticed_and_every_entry_stays() {
    let whole = whole(true);
    let place = find(whole.bytes(""), "{\"n\":60}");
    let noticed = judge(&whole, |path| flip(path, place + 5, 1));
    assert!(noticed);
}

#[test]
fn a_changed_view_is_noticed() {
    let whole = whole(true);
    let place = find(whole.bytes(""), "FROM entries ORDER BY seq");
    assert!(judge(&whole, |path| flip(path, place + 5, 1)));
}

#[test]
fn every_byte_of_the_header_may_change() {
    let whole = whole(true);
    for place in 0..100 {
        judge(&whole, |path| flip(path, place, 0x01));
        judge(&whole, |path| flip(path, place, 0x80));
    }
}

#[test]
fn a_cut_off_emptied_or_vanished_file_is_noticed() {
    let whole = whole(true);
    let length = whole.bytes("").len();
    for left in [0, 1, 50, 512, 4096, length / 2, length - 4096, length - 1] {
        assert!(
            judge(&whole, |path| fs::write(path, &whole.bytes("")[..left])
                .unwrap()),
            "{left} bytes left"
        );
    }
    assert!(judge(&whole, |path| fs::remove_file(path).unwrap()));
}

#[test]
fn another_file_in_its_place_is_kept_aside() {
    let whole = whole(true);
    assert!(judge(&whole, |path| fs::write(
        path,
        "not a database at all"
    )
    .unwrap()));
    assert!(judge(&whole, |path| fs::write(path, vec![0; 8192]).unwrap()));
}

#[test]
fn a_lost_log_is_noticed() {
    let whole = whole(false);
    assert!(
        !judge(&whole, |_| ()),
        "left by a killed process, all of it is there"
    );
    assert!(judge(&whole, |path| fs::remove_file(with_suffix(
        path, "-wal"
    ))
    .unwrap()));
}

#[test]
fn a_ledger_without_its_witness_is_still_one() {
    let whole = whole(true);
    assert!(!judge(&whole, |path| fs::remove_file(with_suffix(
        path, "-head"
    ))
    .unwrap()));
    assert!(!judge(&whole, |path| flip(
        &with_suffix(path, "-head"),
        30,
        1
    )));
}

#[test]
fn an_entry_taken_out_by_sql_is_noticed() {
    let whole = whole(true);
    for sql in [
        "DELETE FROM entries WHERE seq = 12",
        "DELETE FROM entries WHERE seq > 50",
        "UPDATE entries SET at = at + 1 WHERE seq = 3",
        "UPDATE incidents SET state = 'resolved' WHERE id = 'inc-3'",
        "DROP INDEX entries_of_incident",
    ] {
        let noticed = judge(&whole, |path| {
            let done = rusqlite::Connection::open(path).unwrap().execute_batch(sql);
            done.unwrap();
        });
        assert!(noticed, "{sql}");
    }
}

#[test]
fn a_salvage_that_a_crash_cut_off_is_ended_at_the_next_open() {
    let whole = whole(true);
    let dir = tempfile::tempdir().unwrap();
    let path = whole.write(dir.path());
    let place = find(whole.bytes(""), "{\"number\":30,");
    flip(&path, place + 11, 1);
    drop(open(&path));
    // As if the crash had come between the two renames.
    let rebuilt = with_suffix(&path, ".rebuilt");
    fs::rename(&path, &rebuilt).unwrap();
    fs::rename(with_suffix(&path, "-head"), dir.path().join("kept-head")).unwrap();
    fs::write(with_suffix(&path, "-head"), whole.bytes("-head")).unwrap();
    fs::write(with_suffix(&path, ".unfinished"), "half").unwrap();
    let (ledger, opened) = open(&path);
    assert_eq!(opened, Opened::Verified { entries: 60 });
    assert_eq!(ledger.latest_of_kind(LEDGER_DAMAGED, 1).unwrap().len(), 1);
    assert!(!rebuilt.exists());
    assert!(!with_suffix(&path, ".unfinished").exists());
}

#[test]
fn a_ledger_of_a_later_version_is_left_alone() {
    let whole = whole(true);
    let dir = tempfile::tempdir().unwrap();
    let path = whole.write(dir.path());
    // Rows carry a keyed checksum of their own content, so take one from a ledger that says 3.
    let text = b"t3";
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"grace-ledger-row-1");
    for part in [b"meta".as_slice(), b"tversion", text] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let sum = hasher.finalize().to_hex().to_string();
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("UPDATE meta SET value = '3', sum = ?1", [sum])
        .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        Ledger::open(&path),
        Err(LedgerError::NewerVersion { found: 3, .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn flipped_bytes_in_the_file_are_never_silently_accepted() {
    let whole = whole(true);
    let length = whole.bytes("").len();
    let config = ProptestConfig {
        cases: cases(120),
        failure_persistence: None,
        ..Default::default()
    };
    let flips = prop::collection::vec((0..length, 1_u8..=255), 1..4);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&flips, |flips| {
            judge(&whole, |path| {
                for (place, mask) in flips {
                    flip(path, place, mask);
                }
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn entries_that_only_a_scan_finds_are_salvaged_too() {
    // Once failed: a changed cell pointer hides entries from a search by number.
    let whole = whole(true);
    for place in 0..64 {
        for page in [1, 3, 9, 20] {
            let at = page * 4096 + place;
            if at < whole.bytes("").len() {
                judge(&whole, |path| flip(path, at, 1));
            }
        }
    }
}

#[test]
fn flipped_bytes_in_the_log_are_never_silently_accepted() {
    let whole = whole(false);
    let length = whole.bytes("-wal").len();
    let config = ProptestConfig {
        cases: cases(60),
        failure_persistence: None,
        ..Default::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&(0..length, 1_u8..=255), |(place, mask)| {
            judge(&whole, |path| flip(&with_suffix(path, "-wal"), place, mask));
            Ok(())
        })
        .unwrap();
}
