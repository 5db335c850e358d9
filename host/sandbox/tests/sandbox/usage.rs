//! What a whole instance uses, with a group and without: each figure against an amount that is
//! known, spent by real processes.

use std::collections::HashSet;
use std::fs;

use grace_model::isolation::{Limits, Network};
use grace_model::usage::{Source, Usage};
use grace_sandbox::{Usages, of_process};

use crate::stage::{Shell, Stage, service, until};

/// A parent that only waits, and children that use memory, files, processor and disk.
const FAMILY: &str = "sleep 600 & \
    sh -c 'exec 5</dev/null 6</dev/null; sleep 600' & \
    i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; \
    dd if=/dev/zero of=$DATA/file bs=64k count=16 conv=fsync 2>/dev/null; echo done; wait";

const MIB: u64 = 1 << 20;

/// By its group, where there is one.
fn look(usages: &mut Usages, shell: &Shell) -> Usage {
    let name = shell.group.as_ref().map(|group| {
        let dir = &group.places()[0].dir;
        dir.file_name().unwrap().to_str().unwrap().to_owned()
    });
    one(usages, shell.child.pid, &name.unwrap_or_default())
}

fn one(usages: &mut Usages, main: u32, group: &str) -> Usage {
    let usage = usages.of(main, group).unwrap();
    usages.end_round(&HashSet::from([main]));
    usage
}

/// By the group and by `/proc` alone, as on a machine without groups.
fn both(shell: &Shell) -> [Usage; 2] {
    let by_group = look(&mut Usages::default(), shell);
    let by_proc = one(&mut Usages::default(), shell.child.pid, "no-such-group");
    assert_eq!(by_proc.source, Source::Proc);
    assert_eq!(shell.group.is_some(), by_group.source != Source::Proc);
    [by_group, by_proc]
}

fn limits(stage: &Stage, change: impl FnOnce(&mut Limits)) -> Limits {
    let given = stage.machine.primitives(&stage.home);
    let has = |name: &str| given.iter().any(|one| one.name == name && one.given);
    let mut limits = Limits::default();
    change(&mut limits);
    // Without groups these cannot be asked for.
    limits.memory_bytes = limits.memory_bytes.filter(|_| has("cgroup memory"));
    limits.pids = limits.pids.filter(|_| has("cgroup pids"));
    limits
}

fn check(usage: &Usage) {
    assert!(usage.processes >= 4, "{usage:?}");
    assert_eq!(usage.processes, usage.processes_seen);
    assert!(usage.threads >= usage.processes, "{usage:?}");
    assert!(usage.cpu_us > 1_000, "{usage:?}");
    assert!(usage.rss_bytes > MIB, "{usage:?}");
    assert!(
        usage.open_files.unwrap() >= 3 * usage.processes,
        "{usage:?}"
    );
}

#[test]
fn a_whole_family_is_counted_with_and_without_a_group() {
    let stage = Stage::new("usage");
    let limited = service(|it| {
        it.limits = limits(&stage, |it| {
            it.memory_bytes = Some(64 << 20);
            it.pids = Some(32);
        });
    });
    let mut family = stage.run(&limited, FAMILY);
    assert_eq!(family.line(), "done");
    let mut usages = Usages::default();
    until("its children", || look(&mut usages, &family).processes >= 4);
    let [usage, by_proc] = both(&family);
    check(&usage);
    if family.group.is_some() {
        assert_eq!(usage.memory_limit_bytes, limited.limits.memory_bytes);
        assert_eq!(usage.threads_limit, limited.limits.pids.map(u64::from));
        assert_eq!(usage.oom_kills, Some(0));
        assert!(usage.memory_bytes > 0 && usage.memory_bytes < 64 << 20);
    }
    check(&by_proc);
    assert_eq!(by_proc.memory_limit_bytes, None);
    assert_eq!(by_proc.oom_kills, None);
    assert_eq!(by_proc.processes, usage.processes);
    assert_eq!(usages.of(u32::MAX, "no-such-group"), None);
}

#[test]
fn processor_time_that_was_burnt_is_told_also_that_of_children_that_have_ended() {
    let stage = Stage::new("usage-cpu");
    // The shell's own books say how much it was: user and system, its own and its children's.
    let script = "(i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done); \
        i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; \
        cat /proc/$$/stat; sleep 600";
    let mut shell = stage.run(&service(|_| {}), script);
    let line = shell.line();
    let figures: Vec<&str> = line.rsplit_once(')').unwrap().1.split(' ').collect();
    let ticks: u64 = (12..16).map(|at| figures[at].parse::<u64>().unwrap()).sum();
    let burnt_us = ticks * 1_000_000 / grace_os::resources::ticks_per_second();
    assert!(burnt_us > 50_000, "{line}");
    for usage in both(&shell) {
        // A tick a process is lost to rounding; what came after the line is a sleep.
        let told = usage.cpu_us;
        assert!(told + 50_000 >= burnt_us, "{told} of {burnt_us}");
        assert!(told < burnt_us * 2 + 200_000, "{told} of {burnt_us}");
    }
}

#[test]
fn memory_that_is_taken_is_told() {
    let stage = Stage::new("usage-memory");
    let script = "echo $DATA; while [ ! -e $DATA/go ]; do sleep 0.01; done; x=$(head -c 41943040 /dev/zero | tr '\\0' a); \
        echo ${#x}; sleep 600";
    let mut shell = stage.run(&service(|_| {}), script);
    let data = shell.line();
    let before = both(&shell);
    fs::write(format!("{data}/go"), "").unwrap();
    assert_eq!(shell.line(), "41943040");
    for (before, after) in before.into_iter().zip(both(&shell)) {
        let rss = after.rss_bytes - before.rss_bytes;
        assert!(rss >= 40 * MIB, "{before:?} {after:?}");
        assert!(
            after.memory_bytes - before.memory_bytes >= 39 * MIB,
            "{after:?}"
        );
        // A shell may hold a text twice while it takes it in, and no more.
        assert!(rss <= 140 * MIB, "{before:?} {after:?}");
    }
}

#[test]
fn open_files_are_told_against_the_limit_of_the_process_that_is_nearest_to_it() {
    let stage = Stage::new("usage-files");
    let mut limited = service(|_| {});
    limited.limits.files = Some(200);
    // Its child has less room and fewer files, and is nearer to its end.
    let script = "exec 5</dev/null 6</dev/null 7</dev/null; \
        (ulimit -n 16; exec 8</dev/null; echo ready; sleep 600) & wait";
    let mut shell = stage.run(&limited, script);
    assert_eq!(shell.line(), "ready");
    // The last to come has what its parents have.
    until("the sleep", || names(&shell).contains(&"sleep".to_owned()));
    // What its loader opened for a moment is closed by then.
    until("the count by hand", || {
        let by_hand: u64 = pids(&shell).iter().map(|pid| files(*pid)).sum();
        both(&shell).iter().all(|it| it.open_files == Some(by_hand))
    });
    for usage in both(&shell) {
        assert_eq!(usage.fullest_open_files_limit, Some(16), "{usage:?}");
        let fullest = usage.fullest_open_files.unwrap();
        assert!((7..16).contains(&fullest), "{usage:?}");
    }
}

#[test]
fn threads_are_counted_and_so_is_their_limit() {
    let stage = Stage::new("usage-threads");
    let limited = service(|it| it.limits = limits(&stage, |it| it.pids = Some(40)));
    let script = "exec python3 -c '\
import threading, time\n\
for _ in range(12): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n\
print(\"ready\", flush=True)\n\
time.sleep(600)'";
    if grace_needs::tool(
        "threads_are_counted_and_so_is_their_limit",
        "python3",
        "apt-get install python3",
    )
    .is_none()
    {
        return;
    }
    let mut shell = stage.run(&limited, script);
    assert_eq!(shell.line(), "ready");
    for usage in both(&shell) {
        assert_eq!((usage.processes, usage.threads), (1, 13), "{usage:?}");
    }
    assert_eq!(
        both(&shell)[0].threads_limit,
        limited.limits.pids.map(u64::from)
    );
}

#[test]
fn bytes_that_were_written_to_disk_are_told_also_those_of_children_that_have_ended() {
    let stage = Stage::new("usage-disk");
    let script = "dd if=/dev/zero of=$DATA/file bs=64k count=32 conv=fsync 2>/dev/null; \
        grep -h '^write_bytes' /proc/$$/io; sleep 600";
    let mut shell = stage.run(&service(|_| {}), script);
    let line = shell.line();
    let by_kernel: u64 = line.split(' ').nth(1).unwrap().parse().unwrap();
    if by_kernel < 2 * MIB {
        // A file system in memory writes to no disk.
        assert_eq!(both(&shell)[0].written_bytes, Some(by_kernel));
        return;
    }
    for usage in both(&shell) {
        let told = usage.written_bytes.unwrap();
        assert!(
            (2 * MIB..=by_kernel).contains(&told),
            "{told} of {by_kernel}"
        );
    }
}

#[test]
fn bytes_in_a_network_of_its_own_are_told_and_on_the_hosts_none_is_claimed() {
    let stage = Stage::new("usage-network");
    let shared = stage.run(&service(|_| {}), "echo ready; sleep 600");
    assert_eq!(both(&shared)[0].own_network, None);
    let me = "bytes_in_a_network_of_its_own_are_told_and_on_the_hosts_none_is_claimed";
    if !grace_needs::as_root(me)
        || grace_needs::tool(me, "python3", "apt-get install python3").is_none()
    {
        return;
    }
    let apart = service(|it| it.isolation.network = Some(Network::None));
    let script = "exec python3 -c '\
import socket, time\n\
a = socket.socket(); a.bind((\"127.0.0.1\", 0)); a.listen()\n\
b = socket.create_connection(a.getsockname()); c, _ = a.accept()\n\
for _ in range(20):\n\
\x20b.sendall(b\"x\" * 50000); n = 0\n\
\x20while n < 50000: n += len(c.recv(65536))\n\
print(\"ready\", flush=True)\n\
time.sleep(600)'";
    let mut shell = stage.run(&apart, script);
    assert_eq!(shell.line(), "ready");
    for usage in both(&shell) {
        let network = usage.own_network.expect("it has its own");
        // A million, and less than a tenth for TCP's own.
        assert!(
            (1_000_000..1_100_000).contains(&network.sent_bytes),
            "{network:?}"
        );
        assert_eq!(
            network.received_bytes, network.sent_bytes,
            "only its loopback"
        );
    }
}

#[test]
fn of_many_processes_only_some_are_looked_at_and_that_is_said() {
    let stage = Stage::new("usage-many");
    let script = "i=0; while [ $i -lt 90 ]; do sleep 600 & i=$((i+1)); done; echo ready; wait";
    let mut shell = stage.run(&service(|_| {}), script);
    assert_eq!(shell.line(), "ready");
    until("all of them", || both(&shell)[0].processes == 91);
    for usage in both(&shell) {
        assert_eq!(
            (usage.processes, usage.processes_seen),
            (91, 64),
            "{usage:?}"
        );
    }
    let [by_group, _] = both(&shell);
    if by_group.threads_limit.is_some() {
        assert_eq!(by_group.threads, 91, "the group counts them all");
    }
}

#[test]
fn one_process_is_told_without_its_children() {
    let me = of_process(std::process::id()).unwrap();
    assert!(me.rss_bytes > MIB && me.threads >= 1 && me.open_files.unwrap() >= 3);
    assert_eq!(of_process(u32::MAX), None);
}

fn names(shell: &Shell) -> Vec<String> {
    let stats = pids(shell).into_iter().filter_map(grace_os::process::stat);
    stats.map(|stat| stat.name).collect()
}

fn pids(shell: &Shell) -> Vec<u32> {
    let all = grace_os::tree::snapshot();
    let mut pids = grace_os::tree::descendants(&all, &[shell.child.pid], &HashSet::new());
    pids.push(shell.child.pid);
    pids
}

fn files(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64
}
