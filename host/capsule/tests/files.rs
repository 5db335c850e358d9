//! Capsules as files: what is no capsule is refused with a clear word, whatever its bytes are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use grace_capsule::{
    Blob, Build, Capsule, Coverage, Exit, Form, FormatError, HostFacts, Kind, Outcome, Request,
    Store, StoreError, decode, encode,
};
use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::ExitCause;
use proptest::prelude::*;

fn capsule(made_at: u64) -> Capsule {
    Capsule {
        form: Form::Raw,
        made_from: None,
        kind: Kind::Crash,
        made_at,
        service: ServiceName::from("shop"),
        instance: InstanceId::from("shop-1"),
        generation: 3,
        build: Build::default(),
        exit: Some(Exit {
            cause: ExitCause::Signal(6),
            uptime_ms: 5,
        }),
        output: "aborted".to_owned(),
        env: [("A".to_owned(), "b".to_owned())].into(),
        host: HostFacts::default(),
        snapshot: None,
        coverage: Coverage::default(),
        requests: vec![Request {
            at_us: 0,
            method: "POST".to_owned(),
            target: "/order?a=b".to_owned(),
            headers: vec![("host".to_owned(), Blob::from("shop"))],
            body: Blob(vec![0, 255, 7]),
            body_bytes: 3,
            outcome: Outcome::BrokeOff,
            suspect: true,
            answer: None,
        }],
        minimised: None,
    }
}

#[test]
fn a_capsule_is_the_same_after_its_file_and_the_same_content_has_the_same_name() {
    let (id, bytes) = encode(&capsule(1)).unwrap();
    assert_eq!(decode(&bytes).unwrap(), (id, capsule(1)));
    assert_eq!(encode(&capsule(1)).unwrap().0, id);
    assert_ne!(encode(&capsule(2)).unwrap().0, id);
    assert_eq!(id.name().len(), 20);
}

#[test]
fn a_truncated_capsule_is_called_so_at_every_length() {
    let (_, bytes) = encode(&capsule(1)).unwrap();
    for length in 0..bytes.len() {
        let error = decode(&bytes[..length]).unwrap_err();
        match length {
            0 => assert_eq!(error, FormatError::Foreign),
            _ => assert!(
                matches!(error, FormatError::Truncated { .. }),
                "{length}: {error}"
            ),
        }
    }
}

#[test]
fn a_capsule_with_any_byte_changed_is_refused_or_has_the_same_content() {
    let (_, bytes) = encode(&capsule(1)).unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut other = bytes.clone();
            other[at] ^= flip;
            // A few bits of a zstd frame mean nothing.
            let same = decode(&other).is_ok_and(|(_, found)| found == capsule(1));
            assert!(same || decode(&other).is_err(), "byte {at} by {flip:#x}");
            let means_nothing = at >= 60;
            assert!(!same || means_nothing, "byte {at} of the head");
        }
    }
    assert!(decode(&[bytes.as_slice(), b"more"].concat()).is_err());
}

#[test]
fn a_capsule_of_a_later_version_says_that_a_newer_grace_is_needed() {
    let (_, mut bytes) = encode(&capsule(1)).unwrap();
    bytes[8] = 2;
    let error = decode(&bytes).unwrap_err();
    assert_eq!(error, FormatError::Newer { found: 2 });
    assert!(error.to_string().contains("use a newer Grace"), "{error}");
    // Also where the rest is something that this version cannot know.
    assert_eq!(
        decode(&bytes[..11]).unwrap_err(),
        FormatError::Newer { found: 2 }
    );
}

#[test]
fn a_file_that_claims_more_than_a_capsule_may_hold_takes_no_memory() {
    let (_, mut bytes) = encode(&capsule(1)).unwrap();
    bytes[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        decode(&bytes).unwrap_err(),
        FormatError::TooLarge { .. }
    ));
}

#[test]
fn a_whole_file_with_another_content_is_called_meaningless() {
    let content = b"{\"form\":\"raw\"}";
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let packed = ruzstd::encoding::compress_to_vec(content.as_slice(), level);
    let mut bytes = b"GRACECAP\x01\0\0\0".to_vec();
    bytes.extend((content.len() as u64).to_le_bytes());
    bytes.extend((packed.len() as u64).to_le_bytes());
    bytes.extend(blake3::hash(content).as_bytes());
    bytes.extend(packed);
    assert!(matches!(
        decode(&bytes).unwrap_err(),
        FormatError::Meaningless { .. }
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_capsules_fall(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let _ = decode(&bytes);
        let _ = decode(&[b"GRACECAP\x01\0\0\0".as_slice(), &bytes].concat());
        let (_, mut good) = encode(&capsule(1)).unwrap();
        for (at, byte) in changes {
            let at = at.index(good.len());
            good[at] = byte;
        }
        if let Ok((_, found)) = decode(&good) {
            prop_assert_eq!(found, capsule(1));
        }
    }
}

fn store(dir: &Path) -> Store {
    Store::at(dir.join("capsules"))
}

#[test]
fn a_stored_capsule_is_its_owners_alone_and_found_by_a_part_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    assert_eq!(store.list().0.len(), 0);
    let id = store.add(&capsule(2)).unwrap();
    store.add(&capsule(1)).unwrap();
    store.add(&capsule(2)).unwrap();
    let (all, bad) = store.list();
    assert_eq!(bad.len(), 0);
    assert_eq!(
        all.iter().map(|it| it.capsule.made_at).collect::<Vec<_>>(),
        [1, 2]
    );
    for entry in &all {
        assert_eq!(
            fs::metadata(&entry.path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    assert_eq!(
        fs::metadata(store.dir()).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let name = id.name();
    for part in [&name[..], &name[4..], &name[..12]] {
        assert_eq!(store.load(part).unwrap().id, id);
    }
    assert!(matches!(
        store.load("cap-"),
        Err(StoreError::Ambiguous { count: 2, .. })
    ));
    assert!(matches!(store.load("zzz"), Err(StoreError::Unknown { .. })));
}

#[test]
fn a_file_that_is_no_capsule_is_told_beside_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.add(&capsule(1)).unwrap();
    fs::write(store.dir().join("cap-0000000000000000.capsule"), "rubbish").unwrap();
    let (good, bad) = store.list();
    assert_eq!((good.len(), bad.len()), (1, 1));
    assert!(
        bad[0]
            .error
            .to_string()
            .contains("cap-0000000000000000.capsule"),
        "{}",
        bad[0].error
    );
}

#[test]
fn old_capsules_go_by_their_age_and_by_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for at in [10, 20, 30, 40] {
        store.add(&capsule(at)).unwrap();
    }
    let left = || -> Vec<u64> {
        let (all, _) = store.list();
        all.iter().map(|it| it.capsule.made_at).collect()
    };
    let service = ServiceName::from("shop");
    assert_eq!(
        store.prune(&ServiceName::from("other"), 0, 0, 1_000).len(),
        0
    );
    assert_eq!(store.prune(&service, 25, 100, 40).len(), 1);
    assert_eq!(left(), [20, 30, 40]);
    assert_eq!(store.prune(&service, 1_000, 2, 40).len(), 1);
    assert_eq!(left(), [30, 40]);
}

#[test]
fn a_capsule_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("capsules"), "a file").unwrap();
    assert!(matches!(
        store(dir.path()).add(&capsule(1)),
        Err(StoreError::Io { .. })
    ));
}
