//! Processes that we start: their output within a time, what is below them, and their end, also
//! when we are killed. By pid and start time, so that a pid that was given out again is left alone.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::line;

/// A process that was there when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pid: u32,
    parent: u32,
    /// Clock ticks since boot.
    started: u64,
}

impl Seen {
    fn read(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, also brackets; proc(5) counts the state as field 3.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it if it is still the one that was seen.
    pub fn kill(&self) {
        if Self::read(self.pid).is_some_and(|now| now.started == self.started) {
            signal("KILL", self.pid);
        }
    }
}

/// Everything that runs below this process.
pub fn descendants(pid: u32) -> Vec<Seen> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<Seen> = entries
        .filter_map(|entry| Seen::read(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found: Vec<Seen> = Vec::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        for one in all.iter().filter(|one| one.parent == parent) {
            if !found.contains(one) {
                found.push(*one);
                open.push(one.pid);
            }
        }
    }
    found
}

/// Asks a child to end, and ends it when it takes longer than that.
pub fn end(child: &mut Child, patience: Duration) {
    if matches!(child.try_wait(), Ok(None)) {
        signal("TERM", child.id());
    }
    let begun = Instant::now();
    while begun.elapsed() < patience && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs a command to its end with what it printed to both outputs; one that takes longer than
/// that is ended with all below it, and is an error.
pub fn bounded(command: &mut Command, patience: Duration) -> Result<(ExitStatus, String, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))?;
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > patience {
            let below = descendants(child.id());
            end(&mut child, Duration::from_secs(1));
            below.iter().for_each(Seen::kill);
            bail!(
                "{} took longer than {} s and was ended",
                line(command),
                patience.as_secs()
            );
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.and_then(|it| it.join().ok()).unwrap_or_default()
    };
    Ok((status, text(stdout), text(stderr)))
}

fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Cleans up when we are killed before we could: a shell that waits for our end.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Runs this line of shell unless it is dismissed.
    pub fn new(line: &str) -> Result<Self> {
        // The end of a terminal's session and an interrupt reach it too, and must not end it.
        let script = format!("trap '' INT TERM HUP; read word && exit 0; {line}");
        let child = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self(child))
    }

    /// There is nothing left to clean up.
    pub fn dismiss(mut self) {
        if let Some(mut to) = self.0.stdin.take() {
            let _ = to.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}

fn signal(name: &str, pid: u32) {
    // It may have ended in between, and then there is nothing to say.
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Whether a process with this pid runs.
    pub fn runs(pid: u32) -> bool {
        Seen::read(pid).is_some()
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_all_below_it() {
        let (status, out, err) = bounded(
            Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]),
            Duration::from_secs(60),
        )
        .unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
        let dir = crate::command::Scratch::new("bounded").unwrap();
        let file = dir.path().join("pids");
        let script = format!("sleep 600 & echo $$ $! > {}; wait", file.display());
        let error = bounded(
            Command::new("sh").args(["-c", &script]),
            Duration::from_secs(2),
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("took longer than 2 s"),
            "{error}"
        );
        let pids = std::fs::read_to_string(file).unwrap();
        let pids: Vec<u32> = pids
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert_eq!(pids.len(), 2);
        let begun = Instant::now();
        while pids.iter().any(|pid| runs(*pid)) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_guard_cleans_up_when_its_owner_is_gone_and_not_when_it_is_dismissed() {
        let dir = crate::command::Scratch::new("guard").unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let touch =
            |file: &std::path::Path| Guard::new(&format!("touch {}", file.display())).unwrap();
        touch(&one).dismiss();
        assert!(!one.exists());
        // As it is when we are killed: the pipe closes.
        let mut left = touch(&two);
        // An interrupt at the terminal reaches the guard too, once it stands.
        let ignores = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let mask = text.lines().find_map(|it| it.strip_prefix("SigIgn:"));
            u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 0x4003 == 0x4003
        };
        let begun = Instant::now();
        while !ignores(left.0.id()) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        signal("INT", left.0.id());
        signal("TERM", left.0.id());
        drop(left.0.stdin.take());
        left.0.wait().unwrap();
        assert!(two.exists());
        assert!(!one.exists());
    }

    #[test]
    fn what_a_process_started_is_seen_and_ended_with_it() {
        let mut shell = Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 600 & sleep 600 & wait"])
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let below = loop {
            let below = descendants(shell.id());
            if below.len() == 2 || begun.elapsed() > Duration::from_secs(20) {
                break below;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(below.len(), 2);
        end(&mut shell, Duration::from_millis(50));
        assert!(!runs(shell.id()));
        for process in &below {
            // Another that got the pid later is not ours.
            let other = Seen {
                started: process.started + 1,
                ..*process
            };
            other.kill();
            assert!(runs(process.pid));
            process.kill();
        }
        let begun = Instant::now();
        while below.iter().any(|process| runs(process.pid)) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
