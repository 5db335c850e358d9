//! Nothing that can be in a journal's file makes reader, writer or memory of operations fall,
//! hang, or tell of an event that was never written. Over a kept corpus of damaged segments
//! (`corpus/`), and over random damage to a good one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

use std::fs;
use std::path::{Path, PathBuf};

use grace_journal::{Cursor, Entry, Limits, Operations, Reader, Writer};
use grace_model::event::{Event, What};
use proptest::prelude::*;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.journal"))
}

fn event(number: u64) -> Event {
    let process = "corpus".to_owned();
    Event {
        at: number,
        what: What::Stalled {
            process,
            late_ms: number,
        },
    }
}

/// All entries; a reader that goes round in circles fails the test.
fn read_all(dir: &Path, from: Cursor) -> Vec<(Cursor, Entry)> {
    let mut reader = Reader::open(dir, from);
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let some = reader.read(3).unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
    panic!("it never ends");
}

/// The payload of the frame that ends exactly at `end`, found without the crate's own reading:
/// every place before it is tried.
fn frame_ending_at(bytes: &[u8], end: usize) -> Option<&[u8]> {
    (64..end.saturating_sub(8)).find_map(|at| {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let sum = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        let payload = bytes.get(at + 8..end)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[at..at + 4]);
        hasher.update(payload);
        (payload.len() == length && hasher.finalize() == sum).then_some(payload)
    })
}

/// Puts the bytes where a segment is and does with them all that is ever done.
fn exercise(name: &str, bytes: &[u8]) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let path = segment(dir.path(), 1);
    fs::write(&path, bytes).unwrap();
    let entries = read_all(dir.path(), Cursor::START);
    let mut events = Vec::new();
    let mut before = Cursor::START;
    for (cursor, entry) in &entries {
        assert!(*cursor >= before, "{name}: it went back to {cursor:?}");
        before = *cursor;
        // From the place that was told it goes on with the same.
        let rest = read_all(dir.path(), *cursor);
        let told: Vec<&Entry> = entries
            .iter()
            .filter(|(place, _)| place > cursor)
            .map(|(_, entry)| entry)
            .collect();
        let again: Vec<&Entry> = rest.iter().map(|(_, entry)| entry).collect();
        assert_eq!(again, told, "{name}: from {cursor:?}");
        if let Entry::Event(event) = entry {
            let payload = frame_ending_at(bytes, usize::try_from(cursor.offset).unwrap())
                .unwrap_or_else(|| panic!("{name}: nobody wrote {event:?}"));
            let written: Event = serde_json::from_slice(payload).unwrap();
            assert_eq!(&written, event, "{name}");
            events.push(event.clone());
        }
    }
    Operations::load(dir.path()).unwrap();
    // The way on: a writer takes it up, and what it writes is read after all that.
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    let place = writer.append(&event(77_777)).unwrap();
    assert!(place.segment >= 1, "{name}");
    drop(writer);
    let mut after = read_all(dir.path(), Cursor::START);
    let last = after.pop().map(|(_, entry)| entry);
    assert_eq!(last, Some(Entry::Event(event(77_777))), "{name}");
    let still: Vec<Event> = after
        .into_iter()
        .filter_map(|(_, entry)| match entry {
            Entry::Event(event) => Some(event),
            _ => None,
        })
        .collect();
    assert_eq!(still, events, "{name}: the writer changed what was there");
    events
}

#[test]
fn every_segment_of_the_corpus_is_read_without_inventing_an_event_and_is_written_after() {
    let corpus = corpus();
    assert!(corpus.len() >= 35, "{} files", corpus.len());
    for (name, bytes) in &corpus {
        let numbers: Vec<u64> = exercise(name, bytes).iter().map(|it| it.at).collect();
        // What is whole is found, whatever is damaged beside it.
        let wanted: Option<&[u64]> = match name.as_str() {
            "whole" | "zeros-at-the-end" | "ones-at-the-end" => Some(&[1, 2, 3, 4, 5]),
            "flipped-length-shorter"
            | "flipped-length-beyond-the-end"
            | "flipped-length-beyond-the-bound"
            | "flipped-checksum"
            | "flipped-payload" => Some(&[1, 3, 4, 5]),
            "two-damaged-frames" => Some(&[1, 3, 5]),
            "zeros-in-the-middle" | "length-zero" | "length-zero-with-its-checksum" => {
                Some(&[1, 2])
            }
            "cut-in-a-length" | "cut-in-a-checksum" | "cut-in-a-payload" | "cut-after-a-head" => {
                Some(&[1])
            }
            "same-frame-twice" => Some(&[1, 1, 2]),
            "old-frame-after-a-shorter-one" => Some(&[1, 3]),
            "payload-is-no-text"
            | "payload-is-no-object"
            | "payload-is-deep"
            | "gap"
            | "gap-of-nonsense"
            | "numbers-too-large"
            | "event-of-a-later-version"
            | "event-lacks-a-field"
            | "frames-overlap"
            | "longest-event" => Some(&[2]),
            "empty"
            | "header-only"
            | "header-half"
            | "header-flipped"
            | "header-of-another-format"
            | "text"
            | "flipped-every-frame" => Some(&[]),
            _ => None,
        };
        if let Some(wanted) = wanted {
            assert_eq!(numbers, wanted, "{name}");
        }
    }
}

/// One damage.
#[derive(Debug, Clone)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    Zero(prop::sample::Index, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        1 => at().prop_map(Harm::Cut),
        1 => (at(), 1_usize..200).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => (at(), proptest::collection::vec(any::<u8>(), 1..100))
            .prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => (at(), 1_usize..600).prop_map(|(at, count)| Harm::Zero(at, count)),
    ]
}

impl Harm {
    fn do_to(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let end = |at: usize, count: &usize| (at + count).min(length);
        match self {
            _ if length == 0 => {}
            Harm::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Harm::Cut(at) => bytes.truncate(at.index(length)),
            Harm::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..end(at, count));
            }
            Harm::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Harm::Zero(at, count) => {
                let at = at.index(length);
                bytes[at..end(at, count)].fill(0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_to_a_journal_makes_its_reader_fall_or_invent_an_event(
        sizes in proptest::collection::vec(0_usize..120, 1..12),
        harms in proptest::collection::vec(harm(), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
        let mut written = Vec::new();
        for (number, size) in (0..).zip(&sizes) {
            let what = What::Stalled { process: "{".repeat(*size), late_ms: number };
            let event = Event { at: number, what };
            writer.append(&event).unwrap();
            written.push(event);
        }
        drop(writer);
        let mut bytes = fs::read(segment(dir.path(), 1)).unwrap();
        for harm in &harms {
            harm.do_to(&mut bytes);
        }
        let read = exercise("random", &bytes);
        // Those that were written, in their order, and no other.
        let mut left = written.iter();
        for event in &read {
            prop_assert!(left.any(|it| it == event), "{event:?}");
        }
    }
}
