//! Writing, reading, dropping, damage and kills of journals on a real file system.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use grace_journal::{Cursor, Entry, GapReason, JournalError, Limits, Reader, Writer};
use grace_model::event::{Event, What};
use proptest::prelude::*;

const SMALL: Limits = Limits {
    segment_bytes: 2000,
    total_bytes: 1_000_000,
};

fn event(number: u64, size: usize) -> Event {
    let process = "x".repeat(size);
    Event {
        at: number,
        what: What::Stalled {
            process,
            late_ms: number,
        },
    }
}

fn read_all(dir: &Path, from: Cursor) -> Vec<(Cursor, Entry)> {
    let mut reader = Reader::open(dir, from);
    let mut all = Vec::new();
    loop {
        let some = reader.read(7).unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn numbers(entries: &[(Cursor, Entry)]) -> Vec<u64> {
    entries
        .iter()
        .map(|(_, entry)| match entry {
            Entry::Event(event) => event.at,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "journal"))
        .collect();
    found.sort();
    found
}

#[test]
fn events_come_back_in_order_over_segments_and_from_any_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), SMALL).unwrap();
    let mut places = Vec::new();
    for number in 0..50 {
        places.push(writer.append(&event(number, 100)).unwrap());
    }
    assert!(segments(dir.path()).len() > 2);
    let all = read_all(dir.path(), Cursor::START);
    assert_eq!(numbers(&all), (0..50).collect::<Vec<_>>());
    assert_eq!(
        all.iter().map(|(cursor, _)| *cursor).collect::<Vec<_>>(),
        places
    );
    for (index, place) in places.iter().enumerate() {
        let rest = read_all(dir.path(), *place);
        assert_eq!(numbers(&rest), (index as u64 + 1..50).collect::<Vec<_>>());
    }
    assert_eq!(writer.position(), *places.last().unwrap());
}

#[test]
fn a_reader_that_waits_sees_what_is_appended_later_and_a_journal_that_is_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later");
    let mut reader = Reader::open(&path, Cursor::START);
    assert!(reader.read(10).unwrap().is_empty());
    let mut writer = Writer::open(&path, SMALL).unwrap();
    assert!(reader.read(10).unwrap().is_empty());
    for number in 0..40 {
        writer.append_durable(&event(number, 90)).unwrap();
        assert_eq!(numbers(&reader.read(10).unwrap()), [number]);
        assert!(reader.read(10).unwrap().is_empty());
    }
}

#[test]
fn an_event_longer_than_one_read_comes_back_and_one_beyond_the_bound_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    writer.append(&event(1, 10)).unwrap();
    writer.append(&event(2, 600_000)).unwrap();
    writer.append(&event(3, 10)).unwrap();
    let refused = writer.append(&event(4, 2_000_000)).unwrap_err();
    assert!(matches!(refused, JournalError::TooLong { .. }));
    assert_eq!(numbers(&read_all(dir.path(), Cursor::START)), [1, 2, 3]);
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    let first = Writer::open(dir.path(), SMALL).unwrap();
    assert!(matches!(
        Writer::open(dir.path(), SMALL),
        Err(JournalError::Busy { .. })
    ));
    drop(first);
    Writer::open(dir.path(), SMALL).unwrap();
}

#[test]
fn what_was_dropped_beyond_the_bound_is_counted_and_the_newest_is_never_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        segment_bytes: 2000,
        total_bytes: 6000,
    };
    let mut writer = Writer::open(dir.path(), limits).unwrap();
    let mut slow = Reader::open(dir.path(), Cursor::START);
    writer.append(&event(0, 100)).unwrap();
    let (early, _) = slow.read(1).unwrap().remove(0);
    for number in 1..100 {
        writer.append(&event(number, 100)).unwrap();
    }
    let size: u64 = segments(dir.path())
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(size <= 6000, "{size}");
    // One that begins now, and one that has followed, know how many they missed.
    for (mut reader, before) in [(Reader::open(dir.path(), Cursor::START), 0), (slow, 1)] {
        let mut all = Vec::new();
        loop {
            let some = reader.read(50).unwrap();
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        // The follower still has its own first segment open and reads that to its end.
        let gap = all
            .iter()
            .position(|(_, entry)| matches!(entry, Entry::Gap { .. }))
            .unwrap();
        let Entry::Gap {
            dropped: Some(dropped),
            reason: GapReason::Dropped,
        } = all[gap].1
        else {
            panic!("{:?}", all[gap]);
        };
        let head = numbers(&all[..gap]);
        let tail = numbers(&all[gap + 1..]);
        assert_eq!(*tail.last().unwrap(), 99);
        assert_eq!(
            before + head.len() as u64 + dropped + tail.len() as u64,
            100
        );
    }
    // One that comes back with a stored cursor knows only that something is missing.
    let back = read_all(dir.path(), early);
    assert_eq!(
        back[0].1,
        Entry::Gap {
            dropped: None,
            reason: GapReason::Dropped
        }
    );
    assert_eq!(numbers(&back[1..]).last(), Some(&99));
    // A segment too small for one event still takes it.
    let tiny = Limits {
        segment_bytes: 1,
        total_bytes: 1,
    };
    drop(writer);
    let mut writer = Writer::open(dir.path(), tiny).unwrap();
    writer.append(&event(100, 500)).unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    let last = read_all(dir.path(), Cursor::START);
    assert_eq!(numbers(&last[1..]), [100]);
}

#[test]
fn a_flipped_bit_costs_its_own_event_and_is_told_as_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    let mut places = Vec::new();
    for number in 0..10 {
        places.push(writer.append(&event(number, 50)).unwrap());
    }
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let start = places[3].offset as usize;
    // The low and the high byte of the length, the checksum, the payload.
    for byte in [start, start + 3, start + 5, start + 20] {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let all = read_all(dir.path(), Cursor::START);
        assert_eq!(numbers(&all[..4]), [0, 1, 2, 3], "byte {byte}");
        assert_eq!(
            all[4].1,
            Entry::Gap {
                dropped: None,
                reason: GapReason::Damaged
            }
        );
        assert_eq!(numbers(&all[5..]), [5, 6, 7, 8, 9], "byte {byte}");
    }
    // The writer goes on behind the damage and cuts nothing good.
    drop(writer);
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    writer.append(&event(10, 50)).unwrap();
    let all = read_all(dir.path(), places[4]);
    assert_eq!(numbers(&all), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_damaged_end_of_an_old_segment_leads_on_to_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), SMALL).unwrap();
    for number in 0..30 {
        writer.append(&event(number, 100)).unwrap();
    }
    let first = segments(dir.path()).remove(0);
    let size = fs::metadata(&first).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&first)
        .unwrap()
        .set_len(size - 5)
        .unwrap();
    let all = read_all(dir.path(), Cursor::START);
    let gaps: Vec<_> = all
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Gap { .. }))
        .collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let events = all
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Event(_)))
        .count();
    assert_eq!(events, 29);
}

#[test]
fn an_event_of_a_later_version_is_named_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    writer.append(&event(0, 10)).unwrap();
    // A frame as a later version writes it: same framing, a kind unknown here.
    let payload = br#"{"at":5,"event":"dreamt","of":"sheep"}"#;
    let mut frame = Vec::new();
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame);
    hasher.update(payload);
    frame.extend_from_slice(&hasher.finalize().to_le_bytes());
    frame.extend_from_slice(payload);
    let path = segments(dir.path()).remove(0);
    drop(writer);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(frame);
    fs::write(&path, bytes).unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    writer.append(&event(1, 10)).unwrap();
    let all = read_all(dir.path(), Cursor::START);
    assert_eq!(all[1].1, Entry::Unknown("dreamt".to_owned()));
    assert_eq!(numbers(&all[2..]), [1]);
}

#[test]
fn a_journal_of_an_earlier_boot_is_not_continued_in_its_last_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    for number in 0..3 {
        writer.append(&event(number, 10)).unwrap();
    }
    let read_before = writer.position();
    drop(writer);
    // As after a loss of power: another boot id, and the last event was never on the disk.
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..44].fill(b'0');
    let sum = crc32fast::hash(&bytes[..52]).to_le_bytes();
    bytes[52..56].copy_from_slice(&sum);
    let kept = bytes.len() - 3;
    fs::write(&path, &bytes[..kept]).unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    writer.append(&event(3, 10)).unwrap();
    assert_eq!(segments(dir.path()).len(), 2);
    // A reader that had read the lost event misses none of the new ones.
    assert_eq!(numbers(&read_all(dir.path(), read_before)), [3]);
}

#[test]
fn a_reader_in_step_with_a_busy_writer_gets_every_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        segment_bytes: 50_000,
        total_bytes: 100_000_000,
    };
    let mut writer = Writer::open(dir.path(), limits).unwrap();
    let path = dir.path().to_owned();
    let reading = std::thread::spawn(move || {
        let mut reader = Reader::open(&path, Cursor::START);
        let mut next = 0;
        while next < 20_000 {
            for (_, entry) in reader.read(100).unwrap() {
                let Entry::Event(event) = entry else {
                    panic!("{entry:?} at {next}")
                };
                assert_eq!(event.at, next);
                next += 1;
            }
        }
    });
    for number in 0..20_000 {
        writer
            .append(&event(number, (number % 300) as usize))
            .unwrap();
    }
    reading.join().unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Reopen,
    KillAndCut(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_usize..300).prop_map(Step::Append),
        1 => Just(Step::Reopen),
        2 => any::<prop::sample::Index>().prop_map(Step::KillAndCut),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_appends_kills_at_any_byte_and_reopenings_give_what_was_whole(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Some(Writer::open(dir.path(), SMALL).unwrap());
        let mut whole: Vec<(u64, Cursor)> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Append(size) => {
                    let place = writer.as_mut().unwrap().append(&event(next, size)).unwrap();
                    whole.push((next, place));
                    next += 1;
                }
                Step::Reopen => {
                    writer = None;
                    writer.replace(Writer::open(dir.path(), SMALL).unwrap());
                }
                Step::KillAndCut(at) => {
                    writer = None;
                    if let Some(newest) = segments(dir.path()).pop() {
                        let name = newest.file_stem().unwrap().to_str().unwrap();
                        let number: u64 = name.parse().unwrap();
                        let size = fs::metadata(&newest).unwrap().len();
                        let cut = at.index(size as usize + 1) as u64;
                        let file = OpenOptions::new().write(true).open(&newest).unwrap();
                        file.set_len(cut).unwrap();
                        whole.retain(|(_, place)| place.segment != number || place.offset <= cut);
                    }
                    writer.replace(Writer::open(dir.path(), SMALL).unwrap());
                }
            }
        }
        let read = read_all(dir.path(), Cursor::START);
        let read: Vec<(u64, Cursor)> = read
            .into_iter()
            .map(|(cursor, entry)| match entry {
                Entry::Event(event) => (event.at, cursor),
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(read, whole);
    }
}
