//! What a whole instance uses, with a group and without.

use grace_os::user;
use grace_sandbox::{Usage, Usages};

use crate::stage::{Shell, Stage, service, until};

/// A parent that only waits, and children that use memory, files, processor and disk.
const FAMILY: &str = "sleep 600 & \
    sh -c 'exec 5</dev/null 6</dev/null; sleep 600' & \
    i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; \
    dd if=/dev/zero of=$DATA/file bs=64k count=16 conv=fsync 2>/dev/null; echo done; wait";

fn look(usages: &mut Usages, shell: &Shell) -> Usage {
    let name = shell.group.as_ref().map(|group| {
        let dir = &group.places()[0].dir;
        dir.file_name().unwrap().to_str().unwrap().to_owned()
    });
    let usage = usages
        .of(shell.child.pid, &name.unwrap_or_default())
        .unwrap();
    usages.end_round();
    usage
}

fn check(usage: &Usage) {
    assert!(usage.processes >= 4, "{usage:?}");
    assert!(usage.threads >= usage.processes, "{usage:?}");
    assert!(usage.cpu_us > 1_000, "{usage:?}");
    assert!(usage.rss_bytes > 1 << 20, "{usage:?}");
    if user::is_root() {
        assert!(
            usage.open_files.unwrap() >= 3 * usage.processes,
            "{usage:?}"
        );
    }
}

#[test]
fn a_whole_family_is_counted_with_and_without_a_group() {
    let stage = Stage::new("usage");
    let limited = service(|it| {
        // A limit is what a sample must show; without groups it cannot be asked for.
        let given = stage.machine.primitives(&stage.home);
        let has = |name: &str| given.iter().any(|one| one.name == name && one.given);
        it.limits.memory_bytes = has("cgroup memory").then_some(64 << 20);
        it.limits.pids = has("cgroup pids").then_some(32);
    });
    let mut family = stage.run(&limited, FAMILY);
    assert_eq!(family.line(), "done");
    let mut usages = Usages::default();
    until("its children", || look(&mut usages, &family).processes >= 4);
    let usage = look(&mut usages, &family);
    check(&usage);
    if family.group.is_some() {
        assert_eq!(usage.memory_limit_bytes, limited.limits.memory_bytes);
        assert_eq!(usage.threads_limit, limited.limits.pids.map(u64::from));
        assert_eq!(usage.oom_kills, Some(0));
        assert!(usage.memory_bytes > 0 && usage.memory_bytes < 64 << 20);
    }
    // By /proc alone, as on a machine without groups.
    let mut bare = Usages::default();
    let by_proc = bare.of(family.child.pid, "no-such-group").unwrap();
    check(&by_proc);
    assert_eq!(by_proc.memory_limit_bytes, None);
    assert_eq!(by_proc.oom_kills, None);
    assert_eq!(by_proc.processes, usage.processes);
    assert_eq!(bare.of(u32::MAX, "no-such-group"), None);
}
