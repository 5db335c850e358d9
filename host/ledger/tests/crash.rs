//! A writer that is killed loses nothing that it was told is written.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use grace_ledger::{LedgerError, Opened, Queries};

use crate::sample::open;

/// Not a test by itself: the child that `a_killed_writer_...` starts.
#[test]
#[ignore = "it writes until it is killed"]
fn child_writes_for_ever() {
    let Some(path) = std::env::var_os("GRACE_LEDGER_CHILD") else {
        return;
    };
    let (ledger, _) = open(path.as_ref());
    loop {
        let number = ledger
            .transaction(|tx| {
                let number = tx.next_number("n")?;
                tx.append("note", None, number, &"a".repeat(3000))?;
                tx.put("n", &number)?;
                tx.append("note", None, number, &"b")?;
                Ok::<_, LedgerError>(number)
            })
            .unwrap();
        println!("acknowledged {number}");
    }
}

#[test]
fn a_killed_writer_leaves_whole_transactions_and_all_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "crash::child_writes_for_ever",
                "--nocapture",
            ])
            .env("GRACE_LEDGER_CHILD", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let goal = acknowledged + 5 + round * 7;
        let mut note = |line: &str| {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = number.parse().unwrap();
            }
            acknowledged
        };
        while note(&lines.next().unwrap().unwrap()) < goal {}
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts too. The last line may be cut off.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        for line in rest.iter().take(rest.len().saturating_sub(1)) {
            note(line);
        }
        let (ledger, opened) = open(&path);
        let count = ledger.count().unwrap();
        assert_eq!(opened, Opened::Verified { entries: count });
        assert_eq!(count % 2, 0, "half a transaction");
        assert!(
            count / 2 >= acknowledged,
            "{count} entries, {acknowledged} acknowledged"
        );
        assert_eq!(ledger.get("n").unwrap(), Some((count / 2).into()));
        acknowledged = count / 2;
    }
}
