//! What a copy is shut into: looked at from inside, and after its first process was killed.

use std::fs;
use std::io::{Read, pipe};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use grace_os::spawn::{Child, Session, Spawn};
use grace_os::{Signal, pidfd, wait};
use grace_sandbox::{Machine, shell};

use crate::stage::LONG;

/// Runs `script` as the first process of a copy that sees `keep`.
fn start(script: &str, keep: &[PathBuf]) -> (Child, std::io::PipeReader) {
    let shell = shell(&Machine::new(), keep, 8 << 20).expect("a shell");
    let (read, write) = pipe().unwrap();
    let child = Spawn::new("/bin/sh")
        .args(["-c", script])
        .env("PATH", "/usr/bin:/bin")
        .dir("/")
        .stdout(write.as_fd())
        .stderr(write.as_fd())
        .session(Session::New)
        .die_with_parent(true)
        .confine(shell.confinement)
        .start()
        .expect("a copy");
    (child, read)
}

fn output(script: &str, keep: &[PathBuf]) -> String {
    let (child, mut read) = start(script, keep);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    wait::wait_pid(child.pid).unwrap();
    text
}

#[test]
fn a_copy_sees_only_its_own_processes_its_own_loopback_and_its_own_tmp() {
    let seen = output(
        "echo $$; ls /proc | grep -c '^[0-9]'; tail -n +3 /proc/net/dev | cut -d: -f1; ls -A /tmp",
        &[],
    );
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("1", "lo"), "{seen}");
    assert!(words[1].parse::<u32>().unwrap() <= 4, "{seen}");
    assert_eq!(words.len(), 3, "{seen}");
}

#[test]
fn a_copy_can_change_nothing_of_the_machine_nor_of_what_it_is_shown_below_tmp() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    fs::write(dir.path().join("kept"), "original").unwrap();
    let kept = dir.path().display();
    let script = format!(
        "cat {kept}/kept; echo; for at in /etc /usr /var {kept}; do touch $at/grace-was-here 2>/dev/null && echo wrote $at; done; \
         echo changed > {kept}/kept; echo mine > /tmp/mine && cat /tmp/mine"
    );
    let seen = output(&script, &[dir.path().to_owned()]);
    assert!(seen.starts_with("original\n"), "{seen}");
    assert!(!seen.contains("wrote"), "{seen}");
    assert!(seen.ends_with("mine\n"), "{seen}");
    assert_eq!(
        fs::read_to_string(dir.path().join("kept")).unwrap(),
        "original"
    );
    assert!(!std::path::Path::new("/tmp/mine").exists());
}

#[test]
fn all_of_a_copy_ends_with_its_first_process() {
    let (child, mut read) = start("(sleep 300 & sleep 300 & wait) & echo up; wait", &[]);
    let mut three = [0; 3];
    read.read_exact(&mut three).unwrap();
    pidfd::send_signal(&child.handle, Signal::Kill).unwrap();
    wait::wait_pid(child.pid).unwrap();
    // The pipe's end means that nobody holds it any more.
    let begun = Instant::now();
    let mut rest = String::new();
    read.read_to_string(&mut rest).unwrap();
    assert!(begun.elapsed() < LONG);
}

#[test]
fn a_copy_ends_with_the_thread_that_made_it() {
    let maker = std::thread::spawn(|| start("echo up; sleep 300", &[]));
    let (child, mut read) = maker.join().unwrap();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    wait::wait_pid(child.pid).unwrap();
}
