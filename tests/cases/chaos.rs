//! `grace chaos`: faults that are healed, that are not with healing off, that nobody may induce
//! without a word in grace.toml, and that are undone when their owner is killed.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::{Host, alive, eventually, eventually_some, get, signal, stopped, worker};

/// A shop on which faults may be induced.
fn shop(more: &str, reflex: bool) -> Host {
    Host::new(&format!(
        "{more}\n[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\ninstances = 3\n\
         chaos = true\nready = {{ http = \"/healthz\" }}\nrestart = {{ reflex = {reflex} }}\nallow = [\"config.restore\"]\n\n\
         [[service.config]]\npath = \"{{data}}/config.json\"\nseed = \"config.json\"\nformat = \"json\"\n",
        worker("\"--config\", \"{data}/config.json\"")
    ))
}

/// A fault that passes, and its report.
fn passes(host: &Host, args: &[&str]) -> Value {
    let mut all = vec!["chaos"];
    all.extend(args);
    let report = host.json(&all);
    assert_eq!(report["passed"], true, "{report:#}");
    report
}

/// The records of faults that last.
fn records(host: &Host) -> Vec<Value> {
    let files = fs::read_dir(host.state().join("run/chaos"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|end| end == "fault"))
        .filter_map(|file| serde_json::from_slice(&fs::read(file.path()).ok()?).ok())
        .collect()
}

/// A fault in the background, and the process that owns it once it is induced.
fn lasting(host: &Host, args: &[&str]) -> (Child, u32) {
    let child = host
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("grace chaos");
    let owner = eventually_some("the fault's record", || {
        let record = records(host).into_iter().next()?;
        u32::try_from(record["owner"]["pid"].as_u64()?).ok()
    });
    (child, owner)
}

#[test]
fn faults_are_detected_mitigated_and_healed_and_the_report_says_when() {
    let host = shop("", true);
    host.up();
    for (fault, playbook) in [
        ("kill", "instance-crash"),
        ("stop", "instance-hang"),
        ("config-rubbish", "config-corrupt"),
    ] {
        let report = passes(&host, &["run", fault, "shop-2"]);
        for time in ["detect_ms", "mitigate_ms", "heal_ms"] {
            assert!(report[time].is_u64(), "{time} of {report:#}");
        }
        assert_eq!(report["playbook"], playbook, "{report:#}");
        assert!(report["requests"]["sent"].as_u64() >= Some(20), "{report}");
        assert_eq!(records(&host).len(), 0);
    }
    host.down();
}

#[test]
fn with_healing_off_a_fault_fails_what_is_asserted_of_it() {
    let host = shop("[healing]\nplaybooks = false\n", false);
    host.up();
    let pid = host.pid("shop-1");
    let run = host.run(&[
        "chaos",
        "run",
        "stop",
        "shop-1",
        "--patience",
        "4",
        "--for",
        "60",
        "--json",
    ]);
    assert_eq!(run.code, 1, "{run:?}");
    let report = run.json();
    assert_eq!(report["passed"], false, "{report}");
    assert!(report["heal_ms"].is_null(), "{report}");
    // The fault itself is over.
    eventually("it goes on", || alive(pid) && !stopped(pid));
    assert_eq!(records(&host).len(), 0);
    host.down();
}

#[test]
fn a_service_that_does_not_allow_faults_gets_none() {
    let host = Host::shop(2, "");
    host.up();
    let pid = host.pid("shop-1");
    let run = host.run(&["chaos", "run", "kill", "shop-1"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("chaos = true"), "{run:?}");
    let run = host.run(&["chaos", "run", "no-such-fault", "shop-1"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("grace chaos list"), "{run:?}");
    assert_eq!(host.pid("shop-1"), pid);
    let listed = host.json(&["chaos", "list"]);
    assert_eq!(listed["faults"].as_array().map(Vec::len), Some(40));
    host.down();
}

#[test]
fn a_load_that_its_group_does_not_bound_is_refused_and_leaves_nothing() {
    let host = shop("", true);
    host.up();
    for (fault, key) in [("memory-leak", "memory"), ("cpu-burn", "cpu")] {
        let run = host.run(&["chaos", "run", fault, "shop-1"]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(
            run.stderr.contains(key) || run.stderr.contains("control group"),
            "{run:?}"
        );
        assert_eq!(records(&host).len(), 0);
    }
    host.down();
}

#[test]
fn an_instance_behind_a_dead_network_is_routed_around_until_the_owner_is_killed() {
    let host = shop("", true);
    let addr = host.up();
    let (mut run, owner) = lasting(
        &host,
        &["chaos", "run", "net-partition", "shop-1", "--for", "300"],
    );
    eventually("the proxy has it out of rotation", || {
        host.instance("shop-1")["state"] != "ready"
    });
    let detour = host.state().join("run/chaos/shop-1.detour");
    assert!(detour.exists());
    for pid in [run.id(), owner] {
        signal("KILL", pid);
    }
    run.wait().expect("wait");
    // Nobody undid it, and it is over: the detour ends with its owner.
    eventually("it serves again", || {
        let pid = u64::from(host.pid("shop-1"));
        let answered = get(addr, "/hello?id=x")
            .ok()
            .and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok()?["pid"].as_u64());
        host.instance("shop-1")["state"] == "ready" && answered == Some(pid)
    });
    host.down();
    assert!(!detour.exists(), "`grace down` leaves it");
    assert_eq!(records(&host).len(), 0);
}

#[test]
fn a_fault_whose_owner_was_killed_is_undone_by_the_next_up() {
    let host = shop("[healing]\nplaybooks = false\n", false);
    host.up();
    let pid = host.pid("shop-1");
    let (mut run, owner) = lasting(&host, &["chaos", "run", "stop", "shop-1", "--for", "300"]);
    eventually("it is stopped", || stopped(pid));
    for victim in [run.id(), owner] {
        signal("KILL", victim);
    }
    run.wait().expect("wait");
    assert!(stopped(pid));
    // The host is up already, which is told; the fault is undone before.
    let up = host.run(&["up", "-d"]);
    assert!(up.stderr.contains("the fault stop of shop-1"), "{up:?}");
    eventually("it goes on", || alive(pid) && !stopped(pid));
    assert_eq!(records(&host).len(), 0);
    host.down();
}

#[test]
fn a_kernel_is_killed_by_its_name_and_comes_back() {
    let host = shop("", true);
    host.up();
    let healer = host.process("healer");
    let report = passes(&host, &["kill-kernel", "ledger"]);
    assert_eq!(report["fault"], "healer-kill", "{report}");
    assert_ne!(host.process("healer"), healer);
    assert!(!alive(healer));
    let run = host.run(&["chaos", "kill-kernel", "magic"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("ledger"), "{run:?}");
    host.down();
}

/// What no fault may change: how far the wall clock is from the steady one, routes, mounts.
fn machine() -> (i64, String, usize) {
    let up = fs::read_to_string("/proc/uptime").expect("uptime");
    let up: f64 = up
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("seconds");
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after the epoch")
        .as_secs_f64();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let ours = mounts.lines().filter(|line| line.contains("grace-t-"));
    (
        (wall - up).round() as i64,
        fs::read_to_string("/proc/net/route").expect("routes"),
        ours.count(),
    )
}

#[test]
fn clock_routes_and_mounts_of_the_machine_are_as_before_when_faults_of_each_family_are_over() {
    let host = shop("", true);
    host.up();
    let before = machine();
    for (fault, lasts) in [
        ("term", "0"),
        ("descriptor-leak", "1"),
        ("net-latency", "1"),
        ("http-errors", "1"),
        ("config-deleted", "20"),
        ("supervisor-kill", "0"),
        ("flood-connections", "1"),
    ] {
        passes(&host, &["run", fault, "shop-1", "--for", lasts]);
    }
    let after = machine();
    assert!((before.0 - after.0).abs() <= 1, "the clock was moved");
    assert_eq!((before.1, before.2), (after.1, after.2));
    host.down();
}
