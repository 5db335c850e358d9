//! How a process ended, asked by who is not its parent and after it was reaped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

mod common;

use std::time::Duration;

use common::{shell, until};
use grace_model::event::ProcessState;
use grace_model::instance::ExitCause;
use grace_os::spawn::Spawn;
use grace_os::wait::{WaitStatus, try_wait, wait_changes_nonblocking, wait_pid};
use grace_os::{Signal, pidfd, process};

/// Whether this kernel keeps the exit status in a pidfd: from 6.15 on.
fn kernel_keeps_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|text| text.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15)
}

#[test]
fn a_handle_tells_death_at_once_and_the_zombie_counts_as_gone() {
    let child = Spawn::new("sleep").args(["60"]).start().unwrap();
    assert!(!pidfd::is_dead(&child.handle).unwrap());
    assert_eq!(process::state(&child.id), ProcessState::Running);
    pidfd::send_signal(&child.handle, Signal::Stop).unwrap();
    until("stop", || {
        process::state(&child.id) == ProcessState::Stopped
    });
    pidfd::send_signal(&child.handle, Signal::Kill).unwrap();
    assert!(pidfd::wait_dead(&child.handle, Duration::from_secs(20)).unwrap());
    assert_eq!(process::state(&child.id), ProcessState::Gone);
    // Not reaped: its identity is still its own, and the cause can be read beside.
    assert!(process::is_same(&child.id));
    assert_eq!(process::exit_cause(&child.id, None), ExitCause::Signal(9));
    assert_eq!(pidfd::exit_info(&child.handle).unwrap(), None);
    assert_eq!(
        try_wait(child.pid).unwrap().unwrap().cause(),
        ExitCause::Signal(9)
    );
    assert!(!process::is_same(&child.id));
    assert!(pidfd::open_same(&child.id).unwrap().is_none());
    let late = pidfd::send_signal(&child.handle, Signal::Kill).unwrap_err();
    assert!(late.is_absent(), "{late}");
}

#[test]
fn the_exit_of_another_processs_child_is_known_after_it_was_reaped() {
    // The shell reaps the inner one; we are only its grandparent.
    let script = "sh -c 'kill -STOP $$; exit 42' & echo $!; wait $!; echo reaped; exec sleep 60";
    let (parent, mut lines) = shell(script, |spawn| spawn);
    let pid: u32 = lines.next().parse().unwrap();
    until("stop", || {
        process::stat(pid).is_some_and(|stat| stat.state == 'T')
    });
    let id = process::identity(pid).unwrap();
    let handle = pidfd::open_same(&id).unwrap().unwrap();
    pidfd::send_signal(&handle, Signal::Continue).unwrap();
    assert_eq!(lines.next(), "reaped");
    let cause = process::exit_cause(&id, Some(&handle));
    if kernel_keeps_status() {
        assert_eq!(pidfd::exit_info(&handle).unwrap(), Some(42 << 8));
        assert_eq!(cause, ExitCause::Code(42));
    } else {
        assert_eq!(pidfd::exit_info(&handle).unwrap(), None);
        assert_eq!(cause, ExitCause::Unknown);
    }
    assert_eq!(process::exit_cause(&id, None), ExitCause::Unknown);
    pidfd::send_signal(&parent.handle, Signal::Kill).unwrap();
    wait_pid(parent.pid).unwrap();
}

#[test]
fn a_pid_that_is_nobodys_is_an_error_that_names_call_and_pid() {
    let error = pidfd::open(4_194_304).unwrap_err();
    assert!(error.is_absent());
    assert!(
        error.to_string().starts_with("pidfd_open 4194304: "),
        "{error}"
    );
    assert!(pidfd::open(0).is_err());
    assert!(pidfd::exit_info(std::io::stdin()).is_ok_and(|info| info.is_none()));
}

#[test]
fn stops_and_continuations_of_children_are_told() {
    // Only this test's process group of children may be waited for here: waiting for any
    // child takes others' ends, so this part runs in a process of its own.
    const INSIDE: &str = "GRACE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stops_and_continuations_of_children_are_told"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    let child = Spawn::new("sleep").args(["60"]).start().unwrap();
    let mut seen = Vec::new();
    for (signal, told) in [
        (Signal::Stop, WaitStatus::Stopped(19)),
        (Signal::Continue, WaitStatus::Continued),
        (
            Signal::Kill,
            WaitStatus::Signaled {
                signal: 9,
                core: false,
            },
        ),
    ] {
        pidfd::send_signal(&child.handle, signal).unwrap();
        until("notice", || {
            seen.extend(wait_changes_nonblocking().unwrap());
            seen.last() == Some(&(child.pid, told))
        });
    }
    assert_eq!(seen.len(), 3);
    let other = Spawn::new("sh").args(["-c", "exit 3"]).start().unwrap();
    assert!(pidfd::wait_dead(&other.handle, Duration::from_secs(20)).unwrap());
    let ends = grace_os::wait::wait_any_nonblocking().unwrap();
    assert_eq!(ends, [(other.pid, WaitStatus::Exited(3))]);
    assert!(grace_os::wait::wait_any_nonblocking().unwrap().is_empty());
}
