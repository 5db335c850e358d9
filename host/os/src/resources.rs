//! What processes and the machine use, as counters and gauges. It makes no rates: who samples
//! knows the time in between.

use std::fs;

use crate::error::{OsError, Result};
use crate::process::stat;

/// What one process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Processor time so far, in clock ticks; see [`ticks_per_second`].
    pub cpu_ticks: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Open files; none when they may not be counted (another user's).
    pub open_files: Option<u64>,
    /// Threads.
    pub threads: u64,
}

/// What the machine has and uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostResources {
    /// Processor time of all cores so far that was not idle, in clock ticks.
    pub busy_ticks: u64,
    /// Processor time of all cores so far, in clock ticks.
    pub total_ticks: u64,
    /// Cores that this process may use.
    pub cores: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Memory that a new program could have.
    pub available_bytes: u64,
}

/// Clock ticks a second, the unit of `/proc`.
#[must_use]
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Bytes of a page of memory, the unit of some counts in `/proc`.
#[must_use]
pub fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Open files of a process; none when they may not be counted, or it has gone. Since Linux 6.2
/// the directory's size is their number, which costs the same for one and for a million.
#[must_use]
pub fn open_files(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/fd");
    match fs::metadata(&path).ok()?.len() {
        0 => fs::read_dir(path).ok().map(|dir| dir.count() as u64),
        count => Some(count),
    }
}

/// How many files a process may open (its soft limit); none when there is no limit, or it may
/// not be asked.
#[must_use]
pub fn open_files_limit(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let mut lines = text.lines();
    let limits = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    limits.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes that a process and those it has waited for have read from disks and written to them;
/// none when it may not be asked.
#[must_use]
pub fn disk_bytes(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    // What was deleted before it reached the disk was never written.
    let written = field("write_bytes:")?.saturating_sub(field("cancelled_write_bytes:")?);
    Some((field("read_bytes:")?, written))
}

/// What a process uses; none when there is no such process.
#[must_use]
pub fn resources(pid: u32) -> Option<Resources> {
    let stat = stat(pid)?;
    let page = page_bytes();
    Some(Resources {
        cpu_ticks: stat.cpu_ticks,
        rss_bytes: stat.rss_pages.saturating_mul(page),
        open_files: open_files(pid),
        threads: stat.threads,
    })
}

/// What the machine has and uses.
///
/// # Errors
/// [`OsError`] when `/proc` does not tell.
pub fn host_resources() -> Result<HostResources> {
    let read = |path: &'static str| {
        fs::read_to_string(path).map_err(|source| OsError::new("read", path, source))
    };
    let strange = |path: &'static str| {
        OsError::new(
            "parse",
            path,
            std::io::Error::from(std::io::ErrorKind::InvalidData),
        )
    };
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().ok_or_else(|| strange("/proc/stat"))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest times are inside user's.
    let total: u64 = ticks.iter().take(8).sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let memory = read("/proc/meminfo")?;
    let kib = |key: &str| {
        memory.lines().find_map(|line| {
            let value = line.strip_prefix(key)?.strip_prefix(':')?;
            value.split_ascii_whitespace().next()?.parse::<u64>().ok()
        })
    };
    let memory_kib = kib("MemTotal").ok_or_else(|| strange("/proc/meminfo"))?;
    let available_kib = kib("MemAvailable").ok_or_else(|| strange("/proc/meminfo"))?;
    Ok(HostResources {
        busy_ticks: total.saturating_sub(idle),
        total_ticks: total,
        cores: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_bytes: memory_kib.saturating_mul(1024),
        available_bytes: available_kib.saturating_mul(1024),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_files_and_threads() {
        let used = resources(std::process::id()).unwrap();
        assert!(used.rss_bytes > 4096);
        assert!(used.open_files.unwrap() >= 3);
        assert!(used.threads >= 1);
        assert_eq!(resources(u32::MAX), None);
    }

    #[test]
    fn files_are_counted_one_by_one_against_the_limit_of_their_process() {
        let me = std::process::id();
        let limit = crate::limit::open_files().soft;
        assert_eq!(
            open_files_limit(me),
            Some(limit).filter(|it| *it < u64::MAX)
        );
        // Another process, since tests beside this one open and close files of this one.
        let mut child = std::process::Command::new("sh")
            .args([
                "-c",
                "exec 5</dev/null 6</dev/null 7</dev/null; exec sleep 60",
            ])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let listed = || {
            let dir = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
            dir.count() as u64
        };
        // Both at once: the loader of `sleep` opens and closes files of its own before.
        while (open_files(child.id()), listed()) != (Some(6), 6) {
            assert!(
                std::time::Instant::now() < end,
                "{:?} {}",
                open_files(child.id()),
                listed()
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_machine_has_memory_and_time() {
        let host = host_resources().unwrap();
        assert!(host.available_bytes > 0 && host.available_bytes <= host.memory_bytes);
        assert!(host.busy_ticks <= host.total_ticks && host.total_ticks > 0);
        assert!(host.cores >= 1);
    }
}
