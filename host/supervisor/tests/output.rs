//! Output of workers: it outlives the supervisor, and it is bounded.

use std::fs;

use grace_model::event::What;
use grace_model::id::InstanceId;
use grace_model::ipc::{Answer, Request};

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

fn newest(host: &Host, id: &str) -> Option<(String, u64, u64)> {
    let instance = InstanceId::from(id);
    match host.ask(&Request::Output { instance })? {
        Answer::Output {
            text,
            dropped,
            unsaved,
        } => Some((text, dropped, unsaved)),
        Answer::Error { .. } => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_output_is_in_memory_also_what_no_file_could_take_and_after_the_supervisors_death() {
    let script = "echo begin; while read -r word; do echo \"$word\"; [ \"$word\" = end ] && exit 3; done \
                  < \"$GRACE_DATA/orders\"; exec sleep 86400";
    let shop = with_command("shop", vec!["sh".into(), "-c".into(), script.into()]);
    let host = Host::new(vec![shop]);
    let data = host.data("shop-1");
    fs::create_dir_all(&data).unwrap();
    let orders = data.join("orders");
    grace_os::fifo::make(&orders).unwrap();
    let mut order = fs::File::from(grace_os::fifo::open_writer(&orders).unwrap());
    let mut say = |word: &str| std::io::Write::write_all(&mut order, word.as_bytes()).unwrap();
    host.up();
    let has = |wanted: &str, lost: u64| {
        until(wanted, || {
            newest(&host, "shop-1").filter(|it| it.0 == wanted && it.2 == lost)
        })
    };
    has("begin\n", 0);
    assert_eq!(newest(&host, "shop-9"), None);
    // No file can be written where a directory is.
    let log = host.layout.log(&InstanceId::from("shop-1"));
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    say("first\n");
    has("begin\nfirst\n", 6);
    fs::remove_dir(&log).unwrap();
    say("second\n");
    has("begin\nfirst\nsecond\n", 0);
    let told = "grace: 6 bytes of output are missing here, they could not be written\n";
    assert_eq!(read(&log), format!("{told}second\n"));
    let supervisor = host.pid_of("supervisor");
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    // What a dead process had in memory is as much as the files have.
    has(&format!("{told}second\n"), 0);
    say("end\n");
    let tail = host.await_event("its last words", |what| match what {
        What::Exited { tail, .. } => Some(tail.clone()),
        _ => None,
    });
    assert_eq!(tail, format!("{told}second\nend\n"));
}
