//! A machine with control groups of version 2 alone: a kernel of its own, in a process (User-Mode
//! Linux), in which these same tests run. This machine's kernel has only one of the versions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// It boots in seconds; the tests take a minute on a busy machine.
const LONG: Duration = Duration::from_secs(400);

/// What the inner machine does instead of booting: file systems, the tests in the root group, one
/// test in a group that has a process of its own, one beside a process that is not Grace's, the end.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp GRACE_TEST_MACHINE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
for dir in /tmp /var/tmp /opt; do mount -t tmpfs -o mode=1777 tmp $dir; done
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
chmod 755 /opt
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
cp "$TESTS" /tmp/tests
chmod 755 /tmp/tests
/tmp/tests --test-threads=1 --skip machine:: 2>&1
echo "ROOT GROUP: $?"
hog=contain::a_memory_hog_is_killed_in_its_own_group_and_its_neighbour_is_not
mkdir /sys/fs/cgroup/box
sh -c "echo \$\$ >/sys/fs/cgroup/box/cgroup.procs; exec /tmp/tests --exact $hog" 2>&1
echo "OWN GROUP: $?"
mkdir /sys/fs/cgroup/shared
sleep 600 &
echo $! >/sys/fs/cgroup/shared/cgroup.procs
sh -c "echo \$\$ >/sys/fs/cgroup/shared/cgroup.procs; exec /tmp/tests --nocapture --exact $hog" 2>&1
echo "SHARED GROUP: $?"
echo o >/proc/sysrq-trigger
sleep 60
"#;

#[test]
fn all_of_it_holds_on_a_machine_with_control_groups_of_version_2() {
    let test = "all_of_it_holds_on_a_machine_with_control_groups_of_version_2";
    let how = "apt-get install user-mode-linux";
    let Some(linux) = grace_needs::tool(test, "linux.uml", how) else {
        return;
    };
    if !grace_needs::as_root(test) {
        return;
    }
    // The inner machine sees this one's files, read-only, but has a /tmp of its own.
    let Ok(dir) = tempfile::tempdir_in("/var/lib") else {
        grace_needs::not_run(test, "it needs a writable /var/lib");
        return;
    };
    let init = dir.path().join("init");
    let tests = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let script = INIT.replace("\"$TESTS\"", tests.to_str().unwrap());
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let log = dir.path().join("log");
    let output = fs::File::create(&log).unwrap();
    let mut machine = Command::new(linux)
        .args([
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            "mem=700M",
            "quiet",
        ])
        .args(["con=null", "con0=fd:0,fd:1"])
        .arg(format!("init={}", init.display()))
        .stdin(Stdio::null())
        .stderr(output.try_clone().unwrap())
        .stdout(output)
        .spawn()
        .unwrap();
    let end = Instant::now() + LONG;
    while machine.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = machine.kill();
    let _ = machine.wait();
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    assert!(text.contains("ROOT GROUP: 0"), "{text}");
    assert!(text.contains("OWN GROUP: 0"), "{text}");
    // It could not run there, and says whose processes are in the way and what to do.
    assert!(text.contains("SHARED GROUP: 0"), "{text}");
    assert!(
        text.contains("there are other processes in /sys/fs/cgroup/shared"),
        "{text}"
    );
}
