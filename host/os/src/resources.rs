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

/// What a process uses; none when there is no such process.
#[must_use]
pub fn resources(pid: u32) -> Option<Resources> {
    let stat = stat(pid)?;
    let page = page_bytes();
    Some(Resources {
        cpu_ticks: stat.cpu_ticks,
        rss_bytes: stat.rss_pages.saturating_mul(page),
        open_files: fs::read_dir(format!("/proc/{pid}/fd"))
            .ok()
            .map(|dir| dir.count() as u64),
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
    fn the_machine_has_memory_and_time() {
        let host = host_resources().unwrap();
        assert!(host.available_bytes > 0 && host.available_bytes <= host.memory_bytes);
        assert!(host.busy_ticks <= host.total_ticks && host.total_ticks > 0);
        assert!(host.cores >= 1);
    }
}
