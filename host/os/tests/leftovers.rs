//! Ending all that an instance left behind. Each case runs in a process of its own that
//! plays the supervisor: it adopts orphans, and has no children but the case's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::until;
use grace_os::leftovers::{Leftovers, MARKER, end_leftovers, find_leftovers};
use grace_os::spawn::{Child, Session, Spawn};
use grace_os::wait::{wait_any_nonblocking, wait_pid};
use grace_os::{Signal, pidfd, process, user};

const INSIDE: &str = "GRACE_TEST_INSIDE";
const LONG: Duration = Duration::from_secs(20);

/// Runs the rest of the test in a process of its own, as `nobody` if `ordinary` and we are
/// root; says whether this is that process.
fn inside(test: &str, ordinary: bool) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        process::set_subreaper().unwrap();
        return true;
    }
    // A copy, because another user may not reach the build's directory.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .current_dir("/");
    if ordinary && user::is_root() {
        let nobody = user::lookup("nobody").unwrap().unwrap();
        std::os::unix::process::CommandExt::uid(&mut command, nobody.uid);
        std::os::unix::process::CommandExt::gid(&mut command, nobody.gid);
    }
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    false
}

/// A main process with a child, and a grandchild that called setsid and whose parents are
/// gone; `hide` starts it without our marker.
fn family(dir: &Path, marker: &str, hide: bool) -> (Child, Vec<u32>) {
    let env = if hide { "env -i PATH=\"$PATH\"" } else { "" };
    let script = format!(
        "sleep 61 & echo $! > child; \
         ({env} setsid sh -c 'sleep 62 & echo $! > grandchild.new; mv grandchild.new grandchild' &) ; \
         exec sleep 63"
    );
    let child = Spawn::new("sh")
        .args(["-c", &script])
        .env(MARKER, marker)
        .env("PATH", "/usr/bin:/bin")
        .dir(dir)
        .session(Session::New)
        .start()
        .unwrap();
    let read = |name: &str| {
        fs::read_to_string(dir.join(name))
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    until("family", || {
        read("child").is_some() && read("grandchild").is_some()
    });
    let grandchild = read("grandchild").unwrap();
    until("double fork", || {
        process::stat(grandchild).is_some_and(|stat| stat.name == "sleep" && stat.ppid != child.pid)
    });
    (child, vec![read("child").unwrap(), grandchild])
}

fn alive(pid: u32) -> bool {
    process::stat(pid).is_some_and(|stat| !stat.is_gone())
}

fn end_all(pids: &[u32]) {
    for pid in pids {
        if let Ok(handle) = pidfd::open(*pid) {
            let _ = pidfd::send_signal(&handle, Signal::Kill);
        }
    }
    until("reaping", || {
        wait_any_nonblocking().unwrap();
        !pids.iter().any(|pid| process::stat(*pid).is_some())
    });
}

fn spawn_kept(marker: &str) -> Child {
    Spawn::new("sleep")
        .args(["64"])
        .env(MARKER, marker)
        .start()
        .unwrap()
}

fn a_family_ends(hide: bool, main_dead: bool) {
    let dir = tempfile::tempdir().unwrap();
    let me = std::process::id();
    let marker = format!("shop-1@{me}");
    let (main, others) = family(dir.path(), &marker, hide);
    // A sibling instance, and something of Grace's own without any marker.
    let sibling = spawn_kept(&format!("shop-2@{me}"));
    let own = Spawn::new("sleep").args(["65"]).start().unwrap();
    if main_dead {
        pidfd::send_signal(&main.handle, Signal::Kill).unwrap();
        wait_pid(main.pid).unwrap();
    }
    let of = Leftovers {
        main: Some(&main.id),
        main_leads: true,
        marker: &marker,
        adopters: &[me],
        keep: &[own.pid],
    };
    let found = find_leftovers(&of);
    assert!(
        others.iter().all(|pid| found.contains(pid)),
        "{found:?} {others:?}"
    );
    let done = end_leftovers(&of, LONG);
    assert!(done.stayed.is_empty(), "{:?}", done.stayed);
    for pid in others.iter().chain([&main.pid]) {
        assert!(!alive(*pid), "{pid}");
    }
    assert!(alive(sibling.pid) && alive(own.pid));
    assert!(find_leftovers(&of).is_empty());
    end_all(&[sibling.pid, own.pid]);
}

#[test]
fn all_descendants_end_also_one_that_called_setsid_and_forked_twice() {
    if inside(
        "all_descendants_end_also_one_that_called_setsid_and_forked_twice",
        false,
    ) {
        a_family_ends(false, false);
    }
}

#[test]
fn they_end_after_their_main_process_was_killed_and_reaped() {
    if inside(
        "they_end_after_their_main_process_was_killed_and_reaped",
        false,
    ) {
        a_family_ends(false, true);
    }
}

#[test]
fn one_that_dropped_its_environment_is_found_by_who_adopted_it() {
    if inside(
        "one_that_dropped_its_environment_is_found_by_who_adopted_it",
        false,
    ) {
        a_family_ends(true, true);
    }
}

#[test]
fn all_of_it_works_as_an_ordinary_user() {
    if inside("all_of_it_works_as_an_ordinary_user", true) {
        assert!(!user::is_root());
        a_family_ends(false, true);
        a_family_ends(true, true);
        a_family_ends(true, false);
    }
}

#[test]
fn a_family_that_forks_while_it_is_hunted_ends_too() {
    if !inside("a_family_that_forks_while_it_is_hunted_ends_too", false) {
        return;
    }
    let me = std::process::id();
    let marker = format!("forker@{me}");
    let script = "while :; do sleep 0.01 & (setsid sleep 66 &); done";
    let main = Spawn::new("sh")
        .args(["-c", script])
        .env(MARKER, &marker)
        .session(Session::New)
        .start()
        .unwrap();
    let of = Leftovers {
        main: Some(&main.id),
        main_leads: true,
        marker: &marker,
        adopters: &[me],
        keep: &[],
    };
    until("a crowd", || find_leftovers(&of).len() > 20);
    let done = end_leftovers(&of, LONG);
    assert!(done.stayed.is_empty(), "{:?}", done.stayed);
    assert!(done.ended.len() > 20);
    wait_any_nonblocking().unwrap();
    assert!(find_leftovers(&of).is_empty());
}

#[test]
fn what_is_told_to_be_kept_stays_even_with_the_marker_and_a_reused_pid_is_not_touched() {
    let test = "what_is_told_to_be_kept_stays_even_with_the_marker_and_a_reused_pid_is_not_touched";
    if !inside(test, false) {
        return;
    }
    let me = std::process::id();
    let marker = format!("kept@{me}");
    let kept = spawn_kept(&marker);
    let stranger = spawn_kept("other");
    // The main process had this pid once, and it is a stranger's now.
    let mut old = stranger.id.clone();
    old.start_time -= 1;
    let of = Leftovers {
        main: Some(&old),
        main_leads: true,
        marker: &marker,
        adopters: &[],
        keep: &[kept.pid],
    };
    let done = end_leftovers(&of, LONG);
    assert!(done.ended.is_empty() && done.stayed.is_empty(), "{done:?}");
    assert!(alive(kept.pid) && alive(stranger.pid));
    end_all(&[kept.pid, stranger.pid]);
}
