//! What does not depend on the time of day, and what processes may open.

use std::fs;
use std::process::Command;

use grace_model::config::Ready;
use grace_model::event::{RestartBy, What};
use grace_model::instance::State;

use crate::host::{Host, fixture, kill, service, until, with_command};

#[test]
fn a_wall_clock_that_jumps_moves_no_timer_of_the_supervisor() {
    let mut api = service("api", &["notify"]);
    api.ready = Ready::Notify;
    api.heartbeat_ms = Some(20_000);
    api.start_timeout_ms = 60_000;
    let mut dies = with_command("dies", vec!["sh".into(), "-c".into(), "exit 7".into()]);
    dies.restart.own_max = 2;
    dies.restart.backoff_min_ms = 10;
    let host = Host::new(vec![api, dies]);
    fs::write(host.layout.root().join("fixture-wall"), "").unwrap();
    host.up();
    let before = host.await_ready("api-1");
    kill(before.pid);
    let after = host.await_status("a new process", |status| {
        let it = status.instances.iter().find(|it| it.id == before.id)?;
        (it.generation == 2 && it.state == State::Ready).then(|| it.clone())
    });
    // Budgets and delays are counted as ever: two restarts, the second after twice the first.
    host.await_state("dies-1", State::Failed);
    let events = host.events();
    let delays: Vec<u64> = events
        .iter()
        .filter_map(|what| match what {
            What::RestartPlanned {
                by: RestartBy::Reflex,
                delay_ms,
                subject,
            } if subject.service.as_str() == "dies" => Some(*delay_ms),
            _ => None,
        })
        .collect();
    assert_eq!(delays, [10, 20]);
    let hour = 3_600_000;
    assert!(after.uptime_ms < hour);
    for what in &events {
        match what {
            What::Exited { uptime_ms, .. } => assert!(*uptime_ms < hour, "{what:?}"),
            What::Heartbeat { .. } => panic!("{what:?}"),
            What::Stalled { late_ms, .. } => assert!(*late_ms < hour, "{what:?}"),
            _ => {}
        }
    }
    let kernels = host.status().unwrap().kernels;
    assert!(kernels.iter().all(|it| it.heartbeat_age_ms < hour));
    // The times written down are those of that clock: it was really asked.
    let mut reader = grace_journal::Reader::open(
        &host.layout.journal("supervisor"),
        grace_journal::Cursor::START,
    );
    let first = reader.read(3).unwrap();
    assert!(first.iter().any(|(_, entry)| matches!(entry,
        grace_journal::Entry::Event(event) if event.at == 0)));
}

/// The soft and the hard limit of open files of a process.
fn limits(pid: u32) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    let mut words = line.split_ascii_whitespace();
    let mut word = || words.next().unwrap().to_owned();
    (word(), word())
}

#[test]
fn keeper_supervisor_and_proxy_may_open_all_files_and_workers_as_many_as_before() {
    let host = Host::new(vec![service("shop", &["idle"])]).with_parts("proxy healer");
    // The hard limit of this process may be what the soft one is: both are set.
    let script = "ulimit -Sn 200; ulimit -Hn 900; exec \"$@\"";
    let started = Command::new("sh")
        .args(["-ec", script, "sh"])
        .arg(fixture())
        .arg("start")
        .arg(host.layout.root())
        .status()
        .unwrap();
    assert!(started.success(), "{}", host.log());
    let check = || {
        for name in ["keeper", "supervisor", "proxy"] {
            let pid = host.pid_of(name);
            assert_eq!(limits(pid), ("900".into(), "900".into()), "{name}");
        }
        let worker = host.await_ready("shop-1").pid;
        for pid in [worker, host.pid_of("healer")] {
            assert_eq!(limits(pid), ("200".into(), "900".into()));
        }
    };
    check();
    // Nor is it forgotten on the way over new processes of Grace.
    for name in ["keeper", "supervisor", "keeper"] {
        let old = host.pid_of(name);
        kill(old);
        host.await_other(name, old);
    }
    let worker = host.await_ready("shop-1").pid;
    kill(worker);
    until("another worker", || {
        (host.await_ready("shop-1").pid != worker).then_some(())
    });
    check();
}
