//! Processes below one that we started, and their end. By pid and start time, so that a pid that
//! was given out again is left alone.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
