//! What an instance uses: all its processes, not the first alone. From its group where it has
//! one, else from `/proc`, where what has ended is counted as far as its parent waited for it.

use std::collections::{HashMap, HashSet};
use std::fs;

use grace_os::cgroup::{self, Group};
use grace_os::process::{self, ProcStat};
use grace_os::{resources, tree};

/// What one instance uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time so far, in microseconds.
    pub cpu_us: u64,
    /// Resident memory of its processes; what they share counts for each.
    pub rss_bytes: u64,
    /// Memory as its group counts it, without cached files; as `rss_bytes` without a group.
    pub memory_bytes: u64,
    /// What `memory_bytes` can grow to.
    pub memory_limit_bytes: Option<u64>,
    /// Processes.
    pub processes: u64,
    /// Threads of all of them.
    pub threads: u64,
    /// What processes and threads together can grow to.
    pub threads_limit: Option<u64>,
    /// Open files of all of them; none when they may not be counted.
    pub open_files: Option<u64>,
    /// Bytes read from disks so far, of those that live and those they have waited for.
    pub read_bytes: u64,
    /// Bytes written to disks so far, likewise.
    pub written_bytes: u64,
    /// Processes that the out-of-memory killer has ended, where its group counts them.
    pub oom_kills: Option<u64>,
}

/// Looks at many instances, cheaply: finds each one's group once, and lists processes once a
/// round and only if somebody has no group.
#[derive(Debug, Default)]
pub struct Usages {
    /// By pid and start time. None: it has no group.
    groups: HashMap<(u32, u64), Option<Group>>,
    used: HashSet<(u32, u64)>,
    all: Option<Vec<ProcStat>>,
}

impl Usages {
    /// Ends a round: what was not looked at in it is forgotten.
    pub fn end_round(&mut self) {
        let used = std::mem::take(&mut self.used);
        self.groups.retain(|key, _| used.contains(key));
        self.all = None;
    }

    /// What the instance with this main process uses; none when there is no such process.
    /// `group` is the name of its group, `shop-1.3`.
    pub fn of(&mut self, main: u32, group: &str) -> Option<Usage> {
        let stat = process::stat(main)?;
        let key = (main, stat.start_time);
        self.used.insert(key);
        let found = self
            .groups
            .entry(key)
            .or_insert_with(|| find(main, group))
            .clone();
        let members = found.as_ref().map(Group::pids).unwrap_or_default();
        let members: Vec<ProcStat> = if members.is_empty() {
            let all = self.all.get_or_insert_with(tree::snapshot);
            let below: HashSet<u32> = tree::descendants(all, &[main], &HashSet::new())
                .into_iter()
                .collect();
            let below = all.iter().filter(|stat| below.contains(&stat.pid)).cloned();
            [stat].into_iter().chain(below).collect()
        } else {
            members.into_iter().filter_map(process::stat).collect()
        };
        Some(sum(&members, found.as_ref()))
    }
}

/// The group of a process, if it is in one of this name.
fn find(pid: u32, name: &str) -> Option<Group> {
    let mut places = cgroup::of_process(pid).ok()?;
    places.retain(|place| place.dir.ends_with(name));
    (!places.is_empty()).then(|| Group::existing(places))
}

fn sum(members: &[ProcStat], group: Option<&Group>) -> Usage {
    let page = resources::page_bytes();
    let mut usage = Usage::default();
    let mut ticks = 0_u64;
    for stat in members.iter().filter(|stat| !stat.is_gone()) {
        usage.processes += 1;
        usage.threads += stat.threads;
        ticks += stat.cpu_ticks + stat.children_ticks;
        usage.rss_bytes += stat.rss_pages.saturating_mul(page);
        if let Ok(files) = fs::read_dir(format!("/proc/{}/fd", stat.pid)) {
            let count = u64::try_from(files.count()).unwrap_or(u64::MAX);
            usage.open_files = Some(usage.open_files.unwrap_or(0).saturating_add(count));
        }
        let (read, written) = disk(stat.pid);
        usage.read_bytes += read;
        usage.written_bytes += written;
    }
    let memory = group.and_then(Group::memory);
    usage.memory_bytes = memory.map_or(usage.rss_bytes, |memory| memory.used_bytes);
    usage.memory_limit_bytes = memory.and_then(|memory| memory.limit_bytes);
    usage.oom_kills = memory.map(|memory| memory.oom_kills);
    usage.threads_limit = group.and_then(Group::tasks_limit);
    let by_ticks = ticks.saturating_mul(1_000_000) / resources::ticks_per_second().max(1);
    usage.cpu_us = group.and_then(Group::cpu_us).unwrap_or(by_ticks);
    usage
}

fn disk(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let written = field("write_bytes:").unwrap_or(0);
    // What was deleted before it reached the disk was never written.
    let cancelled = field("cancelled_write_bytes:").unwrap_or(0);
    (
        field("read_bytes:").unwrap_or(0),
        written.saturating_sub(cancelled),
    )
}
