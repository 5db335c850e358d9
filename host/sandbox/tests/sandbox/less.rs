//! Machines that give less: user namespaces, control groups and Landlock taken away in turn.
//! Each test runs itself again where that primitive really is not there.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use grace_model::isolation::{Network, Report, Signals};
use grace_os::cgroup::{Controller, Group};
use grace_os::confine::{Confinement, Filter, landlock};
use grace_os::spawn::Spawn;
use grace_os::user;
use grace_os::wait::{self, WaitStatus};

use crate::stage::{Stage, nobody, service};

/// In the environment of a test that runs itself again.
const INSIDE: &str = "GRACE_TEST_INSIDE";

/// Linux/x86_64 and the generic table agree on Landlock's numbers.
const LANDLOCK: [i64; 3] = [444, 445, 446];

fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this test again, confined like this, as nobody if `as_nobody`, behind `before`.
fn again(test: &str, before: &str, as_nobody: bool, by: Confinement) {
    // The user may not reach the program where it was built.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = format!("{before} exec \"$@\"");
    let mut spawn = Spawn::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .args([program.to_str().unwrap(), "--exact", test, "--nocapture"])
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env(INSIDE, "1")
        .env("GRACE_AS_USER", "1")
        .stdout(writer.as_fd())
        .stderr(writer.as_fd())
        .confine(by);
    if as_nobody && user::is_root() {
        spawn = spawn.user(nobody());
    }
    let child = spawn.start().unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let status = wait::wait_pid(child.pid).unwrap();
    assert_eq!(status, Some(WaitStatus::Exited(0)), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn lacks(report: &Report, word: &str) -> bool {
    let found = report.missing.iter().find(|it| it.what.contains(word));
    found.is_some_and(|it| !it.why.is_empty() && !it.remedy.is_empty())
}

#[test]
fn without_landlock_an_ordinary_service_runs_and_says_what_it_lacks() {
    if !inside() {
        let filter = Filter::refuse(LANDLOCK.map(|call| (call, 38)));
        let by = Confinement {
            filter: Some(filter),
            ..Confinement::default()
        };
        let name = "less::without_landlock_an_ordinary_service_runs_and_says_what_it_lacks";
        return again(name, "", false, by);
    }
    let stage = Stage::new("no-landlock");
    let mut shell = stage.run(&service(|_| {}), "echo runs");
    assert_eq!(shell.text(), "runs\n");
    assert!(lacks(&shell.report, "neighbours"), "{:?}", shell.report);
    assert!(!shell.report.applied.iter().any(|it| it.contains("signals")));
    let line = shell.report.missing_line().unwrap();
    assert!(
        line.contains("to get it: use Linux 6.12") && !line.contains('\n'),
        "{line}"
    );
    // An ask is strict.
    let strict = service(|it| it.isolation.signals = Some(Signals::Own));
    let refused = stage
        .prepare(&strict, stage.dir.path())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("isolation.signals") && refused.contains("to get it"),
        "{refused}"
    );
    // Where something else gives the same, that is used, and the report says so.
    let writable = service(|it| it.isolation.writable = Some(Vec::new()));
    let mut shell = stage.run(
        &writable,
        "(: >/var/tmp/../grace-test) 2>/dev/null || echo closed",
    );
    assert_eq!(shell.text(), "closed\n");
    assert!(
        shell
            .report
            .applied
            .iter()
            .any(|it| it.contains("by mounts")),
        "{:?}",
        shell.report
    );
}

#[test]
fn without_control_groups_an_ordinary_service_runs_and_a_limit_is_refused() {
    let name = "less::without_control_groups_an_ordinary_service_runs_and_a_limit_is_refused";
    if !inside() {
        if !grace_needs::as_root(name) {
            return;
        }
        // In a mount namespace of this shell's own; the machine's stay as they are.
        let unmount = "exec 3>&2; unshare -m --propagation private sh -c 'umount -l -R \
                       /sys/fs/cgroup && exec \"$@\"' sh \"$@\"; exit $?;";
        return again(name, unmount, false, Confinement::default());
    }
    let stage = Stage::new("no-groups");
    let mut shell = stage.run(&service(|_| {}), "echo runs");
    assert_eq!(shell.text(), "runs\n");
    assert_eq!(shell.group, None);
    for word in ["memory limit", "limit on processes", "processor time"] {
        assert!(lacks(&shell.report, word), "{word}: {:?}", shell.report);
    }
    assert!(!shell.report.applied.iter().any(|it| it.contains("cgroup")));
    for (strict, key) in [
        (
            service(|it| it.limits.memory_bytes = Some(64 << 20)),
            "limits.memory",
        ),
        (service(|it| it.limits.pids = Some(64)), "limits.pids"),
        (
            service(|it| it.limits.cpu_millicores = Some(500)),
            "limits.cpu",
        ),
    ] {
        let refused = stage
            .prepare(&strict, stage.dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(key) && refused.contains("to get it"),
            "{refused}"
        );
    }
    let found = stage.machine.primitives(&stage.home);
    let of = |name: &str| found.iter().find(|one| one.name == name).unwrap();
    assert!(!of("cgroup memory").given && !of("cgroup pids").given);
}

#[test]
fn without_user_namespaces_an_ordinary_user_gets_the_rest_and_a_private_tmp_is_refused() {
    let name =
        "less::without_user_namespaces_an_ordinary_user_gets_the_rest_and_a_private_tmp_is_refused";
    if !inside() {
        // The kernel's answer when user.max_user_namespaces is 0.
        let filter = Filter::refuse([(272, 28)]);
        #[cfg(not(target_arch = "x86_64"))]
        let filter = Filter::refuse([(97, 28)]);
        let by = Confinement {
            filter: Some(filter),
            ..Confinement::default()
        };
        return again(name, "", true, by);
    }
    assert!(!user::is_root());
    let stage = Stage::new("no-users");
    let mut shell = stage.run(&service(|_| {}), "echo runs");
    assert_eq!(shell.text(), "runs\n");
    for (strict, key) in [
        (
            service(|it| it.isolation.private_tmp_bytes = Some(1 << 20)),
            "private_tmp",
        ),
        (
            service(|it| it.isolation.network = Some(Network::None)),
            "network",
        ),
        (
            service(|it| it.isolation.read_only = vec![PathBuf::from("/usr")]),
            "read_only",
        ),
    ] {
        let refused = stage
            .prepare(&strict, stage.dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(key) && refused.contains("max_user_namespaces"),
            "{refused}"
        );
    }
    // Landlock needs none of it, where the kernel's is new enough.
    let writable = service(|it| it.isolation.writable = Some(Vec::new()));
    if landlock::abi().is_ok_and(|abi| abi >= landlock::WRITES_FROM) {
        let mut shell = stage.run(&writable, "(: >$0-x) 2>/dev/null || echo closed");
        assert_eq!(shell.text(), "closed\n");
        let applied = &shell.report.applied;
        assert!(
            applied.iter().any(|it| it.contains("by Landlock")),
            "{applied:?}"
        );
    } else {
        assert!(stage.prepare(&writable, stage.dir.path()).is_err());
    }
}

#[test]
fn an_ordinary_user_without_a_group_of_its_own_gets_namespaces_landlock_and_limits() {
    let name =
        "less::an_ordinary_user_without_a_group_of_its_own_gets_namespaces_landlock_and_limits";
    if !inside() {
        return again(name, "", true, Confinement::default());
    }
    assert!(!user::is_root());
    let stage = Stage::new("rootless");
    let all = service(|it| {
        it.isolation.network = Some(Network::None);
        it.isolation.private_tmp_bytes = Some(1 << 20);
        it.isolation.read_only = vec![PathBuf::from("/usr")];
        it.limits.file_bytes = Some(1 << 20);
        it.limits.files = Some(32);
        it.isolation.drop_capabilities = vec!["all".to_owned()];
    });
    let script = "id -u; ls /tmp | grep -v tmp | wc -l; tail -n +3 /proc/self/net/dev | wc -l; \
                  grep CapEff /proc/self/status | tr -s '\\t' ' '; : >$DATA/a && echo data; ulimit -Hn";
    let mut shell = stage.run(&all, script);
    let uid = user::effective_uid();
    assert_eq!(
        shell.text(),
        format!("{uid}\n0\n1\nCapEff: 0000000000000000\ndata\n32\n")
    );
    if shell.group.is_none() {
        assert!(lacks(&shell.report, "memory limit"), "{:?}", shell.report);
        let line = shell.report.missing_line().unwrap();
        assert!(
            line.contains("as root") || line.contains("systemd"),
            "{line}"
        );
    }
}

/// What root gives an ordinary user, as systemd's Delegate=yes does.
#[test]
fn an_ordinary_user_that_was_given_a_group_has_limits_in_it() {
    let name = "less::an_ordinary_user_that_was_given_a_group_has_limits_in_it";
    if inside() {
        let stage = Stage::new("given");
        let limited = service(|it| {
            it.limits.memory_bytes = Some(32 << 20);
            it.limits.pids = Some(32);
        });
        let mut shell = stage.run(&limited, crate::stage::HOG);
        shell.ended();
        assert_eq!(shell.group().oom_kills(), Some(1));
        return;
    }
    if !grace_needs::as_root(name) {
        return;
    }
    let own: Vec<_> = grace_os::cgroup::own().unwrap().into_iter().collect();
    let needed = own.iter().filter(|place| {
        let has = |one| place.controllers.contains(&one);
        has(Controller::Memory) || has(Controller::Pids) || has(Controller::CpuUsed)
    });
    let below: Vec<_> = needed.cloned().collect();
    let Ok(group) = Group::make(&below, &crate::stage::host("delegated")) else {
        grace_needs::not_run(name, "no control groups can be made here");
        return;
    };
    for place in group.places() {
        user::give(&place.dir, &nobody()).unwrap();
        for entry in std::fs::read_dir(&place.dir).unwrap().flatten() {
            user::give(&entry.path(), &nobody()).unwrap();
        }
    }
    let by = Confinement {
        groups: group.open_joins().unwrap(),
        ..Confinement::default()
    };
    let _ended = Ended(group);
    again(name, "", true, by);
}

/// Removes a group, also after a failure.
struct Ended(Group);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill(crate::stage::LONG);
        let _ = self.0.remove();
    }
}
