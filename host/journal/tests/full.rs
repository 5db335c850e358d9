//! A disk that is full. In a mount namespace of its own, so that the small file system ends
//! with the process that made it; as an ordinary user too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use grace_journal::{Cursor, Entry, GapReason, JournalError, Limits, Reader, Writer};
use grace_model::event::{Event, What};

const DIR: &str = "GRACE_TEST_FULL_DISK";

#[test]
fn a_full_disk_loses_what_did_not_fit_tells_it_and_goes_on_when_there_is_room() {
    if let Some(dir) = std::env::var_os(DIR) {
        return inside(PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=128k none "$1" && shift && exec "$@""#;
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-ec",
            script,
            "sh",
        ])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("a_full_disk_loses_what_did_not_fit_tells_it_and_goes_on_when_there_is_room")
        .env(DIR, dir.path())
        .output();
    let name = "a_full_disk_loses_what_did_not_fit_tells_it_and_goes_on_when_there_is_room";
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            let why = format!("unshare: {error}; get it by: apt-get install util-linux");
            return grace_needs::not_run(name, &why);
        }
    };
    if !output.status.success() && output.stdout.is_empty() {
        let why = format!(
            "it needs user namespaces, which this kernel or container forbids: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return grace_needs::not_run(name, &why);
    }
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn event(number: u64) -> Event {
    Event {
        at: number,
        what: What::Stalled {
            process: "x".repeat(500),
            late_ms: number,
        },
    }
}

fn inside(dir: PathBuf) {
    let journal = dir.join("journal");
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 60 * 1024]).unwrap();
    let limits = Limits {
        segment_bytes: 16 * 1024,
        total_bytes: 1024 * 1024,
    };
    let mut writer = Writer::open(&journal, limits).unwrap();
    let mut written = Vec::new();
    let mut next = 0;
    let mut append = |writer: &mut Writer| {
        let number = next;
        next += 1;
        (number, writer.append(&event(number)))
    };
    let error = loop {
        match append(&mut writer) {
            (number, Ok(_)) => written.push(number),
            (_, Err(error)) => break error,
        }
    };
    assert!(matches!(error, JournalError::NoSpace { .. }), "{error}");
    assert!(append(&mut writer).1.is_err());
    assert_eq!(writer.lost(), 2);
    let before = written.len();
    fs::remove_file(&ballast).unwrap();
    for _ in 0..3 {
        let (number, result) = append(&mut writer);
        result.unwrap();
        written.push(number);
    }
    assert_eq!(writer.lost(), 0);
    let entries = Reader::open(&journal, Cursor::START).read(10_000).unwrap();
    let gaps: Vec<usize> = (0..entries.len())
        .filter(|index| matches!(entries[*index].1, Entry::Gap { .. }))
        .collect();
    assert_eq!(gaps, [before]);
    let gap = Entry::Gap {
        dropped: Some(2),
        reason: GapReason::NoSpace,
    };
    assert_eq!(entries[before].1, gap);
    let read: Vec<u64> = entries
        .iter()
        .filter_map(|(_, entry)| match entry {
            Entry::Event(event) => Some(event.at),
            _ => None,
        })
        .collect();
    assert_eq!(read, written);
}
