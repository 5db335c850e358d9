//! Children as they really come up: what they see of files, environment, session and errors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

mod common;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{run_shell, shell, until};
use grace_model::instance::ExitCause;
use grace_os::Signal;
use grace_os::spawn::{Session, Spawn, SpawnError};
use grace_os::wait::{WaitStatus, wait_pid};
use grace_os::{limit, pidfd, process, user};

#[test]
fn a_child_gets_its_arguments_and_only_the_environment_it_was_given() {
    let text = run_shell("echo $1-$2; env | sort", |spawn| {
        spawn
            .args(["one", "two words"])
            .env("A", "1")
            .env("B", "x=y")
    });
    assert!(text.starts_with("one-two words\nA=1\nB=x=y\n"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
}

#[test]
fn listening_sockets_arrive_from_three_on_with_names_and_the_childs_own_pid() {
    let one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let two = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "echo $LISTEN_PID $$ $LISTEN_FDS $LISTEN_FDNAMES; readlink /proc/$$/fd/3 \
                  /proc/$$/fd/4; ls /proc/$$/fd";
    let text = run_shell(script, |spawn| {
        spawn.listen_fds([("shop", one.as_fd()), ("admin", two.as_fd())])
    });
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!(words[0], words[1], "{text}");
    assert_eq!(&words[2..], ["2", "shop:admin"]);
    for (line, socket) in [(lines[1], &one), (lines[2], &two)] {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(socket));
        assert_eq!(line, fs::read_link(path).unwrap().to_str().unwrap());
    }
    // Nothing else that this process has open: its sockets, pipes, the test runner's files.
    assert_eq!(&lines[3..], ["0", "1", "2", "3", "4"], "{text}");
}

#[test]
fn numbers_may_be_exchanged_and_have_holes() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        fs::write(dir.path().join(name), name).unwrap();
        File::open(dir.path().join(name)).unwrap()
    };
    let (a, b) = (file("a"), file("b"));
    let number = |file: &File| std::os::fd::AsRawFd::as_raw_fd(file);
    // Each wants the number that the other has here. Not by redirection: some shells know
    // only numbers of one digit.
    let script = format!("cd /proc/$$/fd; cat {} {} 40", number(&a), number(&b));
    let c = file("c");
    let text = run_shell(&script, |spawn| {
        spawn
            .fd(number(&b), a.as_fd())
            .fd(number(&a), b.as_fd())
            .fd(40, c.as_fd())
    });
    assert_eq!(text, "bac");
}

/// Writes a program in a process of its own: written here, it would be open for writing in
/// every child that another test forks at that moment, and could not be executed until then.
fn put(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    let writer = Spawn::new("sh")
        .args(["-c", "printf %s \"$1\" > \"$2\"", "sh", text])
        .args([path.as_os_str()])
        .start()
        .unwrap();
    assert_eq!(wait_pid(writer.pid).unwrap(), Some(WaitStatus::Exited(0)));
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_program_that_is_still_being_written_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "tool", "#!/bin/sh\n", 0o755);
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let busy = Spawn::new(&path).start().unwrap_err();
    assert!(
        matches!(busy, SpawnError::NotExecutable { .. }) && busy.to_string().contains("rename"),
        "{busy}"
    );
    drop(writer);
}

#[test]
fn a_child_gets_the_limit_of_open_files_it_was_given() {
    let own = limit::open_files();
    let given = limit::OpenFiles {
        soft: own.soft.min(64),
        hard: own.hard.min(99),
    };
    let script = "ulimit -Sn; ulimit -Hn; ls -l /proc/$$/fd/70";
    let file = File::open("/dev/null").unwrap();
    // A number above the limit is placed all the same.
    let text = run_shell(script, |spawn| spawn.open_files(given).fd(70, file.as_fd()));
    assert!(text.starts_with("64\n99\n"), "{text}");
    assert!(text.contains("/dev/null"), "{text}");
    assert_eq!(limit::open_files(), own);
    let text = run_shell("ulimit -Sn", |spawn| spawn);
    assert_eq!(text.trim(), own.soft.to_string());
}

#[test]
fn what_cannot_be_run_is_told_with_its_cause_and_leaves_no_child() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str, mode: u32| put(dir.path(), name, text, mode);
    let start = |program: OsString| Spawn::new(program).start().unwrap_err();
    let absent = start("no-such-program-here".into());
    assert!(matches!(absent, SpawnError::NotFound { .. }), "{absent}");
    assert!(absent.to_string().contains("PATH"), "{absent}");
    assert!(matches!(
        start("./no/such".into()),
        SpawnError::NotFound { .. }
    ));
    assert!(matches!(start("".into()), SpawnError::NotFound { .. }));
    let plain = start(put("plain", "#!/bin/sh\n", 0o644).into());
    assert!(plain.to_string().contains("chmod +x"), "{plain}");
    let folder = start(dir.path().into());
    assert!(folder.to_string().contains("directory"), "{folder}");
    let text = start(put("text", "hello\n", 0o755).into());
    assert!(text.to_string().contains("#!/bin/sh"), "{text}");
    let lost = start(put("lost", "#!/no/such/interpreter\n", 0o755).into());
    assert!(lost.to_string().contains("interpreter"), "{lost}");
    let nowhere = Spawn::new("sh").dir("/no/such/dir").start().unwrap_err();
    assert!(matches!(nowhere, SpawnError::WorkDir { .. }), "{nowhere}");
    let zero = Spawn::new("sh").args(["a\0b"]).start().unwrap_err();
    assert!(matches!(zero, SpawnError::BadInput { .. }), "{zero}");
    let mine = std::process::id();
    let dead = grace_os::tree::snapshot()
        .into_iter()
        .find(|stat| stat.ppid == mine && stat.name == "text");
    assert_eq!(dead, None);
}

#[test]
fn a_program_is_found_in_the_childs_path_and_a_relative_one_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "own-program", "#!/bin/sh\nexit 5\n", 0o755);
    for spawn in [
        Spawn::new("own-program").env("PATH", dir.path()),
        Spawn::new("./own-program").dir(dir.path()),
    ] {
        let child = spawn.start().unwrap();
        assert_eq!(wait_pid(child.pid).unwrap(), Some(WaitStatus::Exited(5)));
    }
}

#[test]
fn a_child_leads_the_session_or_group_it_was_given() {
    let here = process::stat(std::process::id()).unwrap();
    for (session, leads_group, leads_session) in [
        (Session::Same, false, false),
        (Session::Group, true, false),
        (Session::New, true, true),
    ] {
        let child = Spawn::new("sleep")
            .args(["60"])
            .session(session)
            .start()
            .unwrap();
        let stat = process::stat(child.pid).unwrap();
        assert_eq!(stat.pgrp == child.pid, leads_group);
        assert_eq!(stat.session == child.pid, leads_session);
        assert_eq!(stat.session == here.session, !leads_session);
        pidfd::send_signal(&child.handle, Signal::Kill).unwrap();
        assert_eq!(
            wait_pid(child.pid).unwrap().unwrap().cause(),
            ExitCause::Signal(9)
        );
    }
}

#[test]
fn a_child_starts_with_no_signal_blocked_or_ignored() {
    // The test runner's own process ignores SIGPIPE; a worker must not inherit that.
    let text = run_shell("grep -E '^Sig(Blk|Ign)' /proc/self/status", |spawn| spawn);
    for line in text.lines() {
        assert!(line.ends_with("\t0000000000000000"), "{text}");
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn a_subreaper_child_adopts_its_orphaned_grandchildren() {
    let script = "(setsid sleep 60 & echo $! ) ; echo end; exec sleep 60";
    let (child, mut lines) = shell(script, |spawn| spawn.subreaper(true).session(Session::New));
    let orphan: u32 = lines.next().parse().unwrap();
    assert_eq!(lines.next(), "end");
    until("adoption", || {
        process::stat(orphan).is_some_and(|stat| stat.ppid == child.pid)
    });
    for pid in [orphan, child.pid] {
        pidfd::send_signal(pidfd::open(pid).unwrap(), Signal::Kill).unwrap();
    }
    wait_pid(child.pid).unwrap();
}

#[test]
fn as_root_a_child_becomes_another_user_with_that_users_groups_only() {
    if !grace_needs::as_root("as_root_a_child_becomes_another_user_with_that_users_groups_only") {
        return;
    }
    let nobody = user::lookup("nobody").unwrap().unwrap();
    let uid = nobody.uid;
    let text = run_shell(
        "id -u; id -g; id -G; cat /proc/self/status | grep NoNewPrivs",
        |spawn| spawn.user(nobody).no_new_privileges(true).dir("/"),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], uid.to_string());
    assert_ne!(lines[1], "0");
    assert!(!lines[2].split(' ').any(|group| group == "0"), "{text}");
    assert_eq!(lines[3], "NoNewPrivs:\t1");
    assert_eq!(user::lookup("no-such-user-here").unwrap(), None);
}

#[test]
fn children_start_from_many_threads_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                for round in 0..10 {
                    let code = (number * 10 + round) % 200;
                    let script = format!("exit {code}");
                    let child = Spawn::new("sh").args(["-c", &script]).start().unwrap();
                    assert_eq!(wait_pid(child.pid).unwrap(), Some(WaitStatus::Exited(code)));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_child_without_streams_reads_nothing_and_writes_nowhere() {
    let (child, mut lines) = shell("exec 3>&1; readlink /proc/$$/fd/0 /proc/$$/fd/2", |s| s);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "/dev/null\n/dev/null\n");
    wait_pid(child.pid).unwrap();
}
