//! Processes as the kernel sees them.

use std::fs;
use std::process::Command;

/// Sends a signal by name (`KILL`, `STOP`, ...).
pub fn signal(name: &str, pid: u32) {
    assert!(pid > 1, "no signal to pid {pid}");
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.expect("kill").success(), "kill -{name} {pid}");
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Whether the process lives; a zombie does not.
pub fn alive(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Whether the process is stopped.
pub fn stopped(pid: u32) -> bool {
    matches!(state(pid), Some('T' | 't'))
}

/// Living processes whose environment or command line holds `marker`.
pub fn pids_with_marker(marker: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let holds = |file: &str| {
            fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| {
                bytes
                    .windows(marker.len())
                    .any(|window| window == marker.as_bytes())
            })
        };
        if pid != std::process::id() && (holds("environ") || holds("cmdline")) && alive(pid) {
            found.push(pid);
        }
    }
    found
}
