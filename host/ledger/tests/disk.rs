//! A disk that is really full: a small file system of its own.

use std::process::Command;

use grace_ledger::{LedgerError, Opened, Queries};

use crate::sample::open;

/// Not a test by itself: it runs inside the small file system.
#[test]
#[ignore = "it needs a small file system in GRACE_LEDGER_SMALL"]
fn child_fills_the_disk() {
    let Some(dir) = std::env::var_os("GRACE_LEDGER_SMALL") else {
        return;
    };
    let path = std::path::Path::new(&dir).join("ledger.db");
    let (ledger, _) = open(&path);
    let ballast = path.with_file_name("ballast");
    std::fs::write(&ballast, vec![1; 300_000]).unwrap();
    let body = "x".repeat(5_000);
    let mut written = 0;
    let error = loop {
        match ledger.transaction(|tx| tx.append("note", None, 1, &body)) {
            Ok(seq) => written = seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LedgerError::DiskFull), "{error:?}");
    assert_eq!(ledger.count().unwrap(), written);
    assert_eq!(ledger.verify().unwrap(), written);
    std::fs::remove_file(ballast).unwrap();
    let after = ledger
        .transaction(|tx| tx.append("note", None, 1, &body))
        .unwrap();
    assert_eq!(after, written + 1);
    drop(ledger);
    let (_ledger, opened) = open(&path);
    assert_eq!(opened, Opened::Verified { entries: after });
    println!("filled at {written}");
}

#[test]
fn a_full_disk_is_a_typed_error_and_room_on_it_is_used_again() {
    let name = "a_full_disk_is_a_typed_error_and_room_on_it_is_used_again";
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=2m none \"$1\" || exit 77\nexec \"$2\" --ignored --exact \
                  disk::child_fills_the_disk --nocapture";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .env("GRACE_LEDGER_SMALL", dir.path())
        .output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Ok(output) if output.status.success() => {
            assert!(
                text(&output.stdout).contains("filled at"),
                "{}",
                text(&output.stdout)
            );
        }
        Ok(output) if text(&output.stdout).is_empty() => {
            let why = format!(
                "it needs user namespaces, which this kernel or container forbids: {}",
                text(&output.stderr).trim()
            );
            grace_needs::not_run(name, &why);
        }
        Ok(output) => panic!("{}{}", text(&output.stdout), text(&output.stderr)),
        Err(error) => grace_needs::not_run(
            name,
            &format!("unshare: {error}; get it by: apt-get install util-linux"),
        ),
    }
}
