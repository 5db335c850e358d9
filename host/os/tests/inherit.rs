//! Taking inherited sockets, in a child that really inherits them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use grace_os::inherit::listen_fds;
use grace_os::spawn::Spawn;
use grace_os::wait::{WaitStatus, wait_pid};

const TEST: &str = "a_child_takes_what_it_inherits_once_and_only_what_is_its_own";
const INSIDE: &str = "GRACE_TEST_INSIDE";

fn again<'fd>(mode: &str) -> Spawn<'fd> {
    Spawn::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, mode)
}

#[test]
fn a_child_takes_what_it_inherits_once_and_only_what_is_its_own() {
    match std::env::var(INSIDE).ok().as_deref() {
        None => outside(),
        Some("takes") => takes(),
        Some("refuses") => {
            assert!(listen_fds().unwrap().is_empty());
        }
        Some("closed") => {
            let error = listen_fds().unwrap_err();
            assert!(error.to_string().contains("inherited fd 3"), "{error}");
        }
        Some(other) => panic!("{other}"),
    }
}

fn outside() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let log = tempfile::tempfile().unwrap();
    let sockets = [("shop", socket.as_fd()), ("log", log.as_fd())];
    let child = again("takes").listen_fds(sockets).start().unwrap();
    let mut answer = String::new();
    TcpStream::connect(addr)
        .unwrap()
        .read_to_string(&mut answer)
        .unwrap();
    assert_eq!(answer, "from the child");
    assert_eq!(wait_pid(child.pid).unwrap(), Some(WaitStatus::Exited(0)));
    // Meant for another process.
    let child = again("refuses")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .start()
        .unwrap();
    assert_eq!(wait_pid(child.pid).unwrap(), Some(WaitStatus::Exited(0)));
    // Promised and not there.
    let child = again("closed").env("LISTEN_FDS", "1").start().unwrap();
    assert_eq!(wait_pid(child.pid).unwrap(), Some(WaitStatus::Exited(0)));
}

fn takes() {
    let mut taken = listen_fds().unwrap();
    assert_eq!(
        taken.iter().map(|fd| fd.name.as_str()).collect::<Vec<_>>(),
        ["shop", "log"]
    );
    assert!(listen_fds().unwrap().is_empty());
    let log: OwnedFd = taken.remove(1).fd;
    File::from(log).write_all(b"x").unwrap();
    let listener = TcpListener::from(taken.remove(0).fd);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"from the child").unwrap();
}
