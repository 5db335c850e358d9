//! A writer that is killed while it writes, as processes are killed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what surrounds a test fails it"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use grace_journal::{Cursor, Entry, Limits, Reader, Writer};
use grace_model::event::{Event, What};

const DIR: &str = "GRACE_TEST_JOURNAL";
const TEST: &str = "nothing_acknowledged_is_lost_when_the_writer_is_killed_again_and_again";
const LIMITS: Limits = Limits {
    segment_bytes: 30_000,
    total_bytes: 1 << 30,
};

fn event(number: u64) -> Event {
    let process = "x".repeat((number % 400) as usize);
    Event {
        at: number,
        what: What::Stalled {
            process,
            late_ms: 0,
        },
    }
}

/// Reads numbers that rise by one from `from`; gives the next one.
fn check(dir: &Path, from: u64) -> u64 {
    let mut reader = Reader::open(dir, Cursor::START);
    let mut next = 0;
    loop {
        let entries = reader.read(500).unwrap();
        if entries.is_empty() {
            assert!(next >= from, "{next} of {from}");
            return next;
        }
        for (_, entry) in entries {
            let Entry::Event(event) = entry else {
                panic!("{entry:?} at {next}")
            };
            assert_eq!(event.at, next);
            next += 1;
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_writer_is_killed_again_and_again() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write_for_ever(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let acknowledged = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .filter_map(|line| line.unwrap().strip_prefix("written ")?.parse::<u64>().ok())
            .nth(100 + 37 * round)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        written = check(dir.path(), acknowledged + 1);
    }
    assert!(written > 1_000);
}

fn write_for_ever(dir: &Path) {
    let mut next = check(dir, 0);
    let mut writer = Writer::open(dir, LIMITS).unwrap();
    loop {
        writer.append(&event(next)).unwrap();
        // The test runner's own output has no line like this; a closed pipe is the end.
        if writeln!(std::io::stdout(), "written {next}").is_err() {
            return;
        }
        next += 1;
    }
}
