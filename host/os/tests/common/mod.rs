//! Shells to look through from inside a child, and waiting for what must become true.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use grace_os::spawn::{Child, Spawn};
use grace_os::wait::wait_pid;

/// What a child writes.
pub struct Lines(BufReader<File>);

impl Lines {
    /// The next line without its end.
    pub fn next(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Read for Lines {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

/// Starts `sh -c SCRIPT sh`, its output readable.
pub fn shell<'fd>(script: &str, with: impl FnOnce(Spawn<'fd>) -> Spawn<'fd>) -> (Child, Lines) {
    let (reader, writer) = io::pipe().unwrap();
    let spawn: Spawn<'_> = with(Spawn::new("sh").args(["-c", script, "sh"]));
    let child = start_with(spawn, &writer);
    (
        child,
        Lines(BufReader::new(File::from(std::os::fd::OwnedFd::from(
            reader,
        )))),
    )
}

fn start_with<'a>(spawn: Spawn<'a>, writer: &'a io::PipeWriter) -> Child {
    spawn.stdout(writer.as_fd()).start().unwrap()
}

/// What a shell writes until its end.
pub fn run_shell<'fd>(script: &str, with: impl FnOnce(Spawn<'fd>) -> Spawn<'fd>) -> String {
    let (child, mut lines) = shell(script, with);
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    wait_pid(child.pid).unwrap();
    text
}

/// Waits until something is true, at most 20 s.
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
