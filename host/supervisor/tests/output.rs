//! Output of workers: it outlives the supervisor, and it is bounded.

use std::fs;

use grace_model::id::InstanceId;

use crate::host::{Host, kill_now, read, service, until, with_command};

#[test]
fn a_worker_that_logs_through_the_supervisors_death_loses_no_line() {
    let host = Host::new(vec![service("shop", &["chatty"])]);
    host.up();
    let pid = host.await_ready("shop-1").pid;
    let written = || {
        read(&host.data("shop-1").join("written"))
            .parse::<u64>()
            .unwrap_or(0)
    };
    for round in 1..=3 {
        until("more lines", || (written() > round * 500).then_some(()));
        let supervisor = host.pid_of("supervisor");
        kill_now(supervisor);
        host.await_other("supervisor", supervisor);
    }
    until("the last lines", || (written() > 3_000).then_some(()));
    assert_eq!(host.await_ready("shop-1").pid, pid);
    let log = host.layout.log(&InstanceId::from("shop-1"));
    let text = until("them in the log", || {
        let text = read(&log);
        text.contains("line 3000\n").then_some(text)
    });
    let numbers: Vec<u64> = text
        .lines()
        .take(3_001)
        .map(|line| line.strip_prefix("line ").unwrap().parse().unwrap())
        .collect();
    assert!(
        numbers.iter().copied().eq(0..=3_000),
        "lines are missing, double or out of order"
    );
}

#[test]
fn logs_are_rotated_and_bounded() {
    let script =
        "i=0; while [ $i -lt 6000 ]; do printf '%01000d\\n' $i; i=$((i+1)); done; exec sleep 86400";
    let host = Host::new(vec![with_command(
        "shop",
        vec!["sh".into(), "-c".into(), script.into()],
    )]);
    host.up();
    let log = host.layout.log(&InstanceId::from("shop-1"));
    let name = |number: u32| log.with_file_name(format!("shop-1.log.{number}"));
    until("the last line", || {
        let all = read(&log) + &read(&name(1));
        all.contains("05999\n").then_some(())
    });
    let sizes: Vec<u64> = (1..=3)
        .map(|number| fs::metadata(name(number)).unwrap().len())
        .collect();
    assert!(sizes.iter().all(|size| *size < 4 << 20), "{sizes:?}");
    assert!(!name(4).exists());
}
