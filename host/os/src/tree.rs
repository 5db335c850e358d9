//! All processes at one moment, and who descends from whom.

use std::collections::{HashMap, HashSet};
use std::fs;

use crate::process::{ProcStat, stat};

/// Every process that `/proc` shows, one scan.
#[must_use]
pub fn snapshot() -> Vec<ProcStat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(stat)
        .collect()
}

/// The children of `pid`.
#[must_use]
pub fn children(all: &[ProcStat], pid: u32) -> Vec<u32> {
    all.iter()
        .filter(|stat| stat.ppid == pid)
        .map(|stat| stat.pid)
        .collect()
}

/// All that descends from `roots`, without them, not looking below `barred`.
#[must_use]
pub fn descendants(all: &[ProcStat], roots: &[u32], barred: &HashSet<u32>) -> Vec<u32> {
    let mut by_parent: HashMap<u32, Vec<u32>> = HashMap::new();
    for stat in all {
        by_parent.entry(stat.ppid).or_default().push(stat.pid);
    }
    let mut seen: HashSet<u32> = roots.iter().copied().collect();
    let mut found = Vec::new();
    let mut open = roots.to_vec();
    while let Some(pid) = open.pop() {
        for child in by_parent.get(&pid).into_iter().flatten() {
            if !barred.contains(child) && seen.insert(*child) {
                found.push(*child);
                open.push(*child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ppid: u32) -> ProcStat {
        ProcStat {
            pid,
            name: String::new(),
            state: 'S',
            ppid,
            pgrp: pid,
            session: pid,
            cpu_ticks: 0,
            children_ticks: 0,
            threads: 1,
            start_time: 0,
            rss_pages: 0,
            exit_code: 0,
        }
    }

    #[test]
    fn descendants_are_found_below_their_roots_and_not_below_what_is_barred() {
        let all = [
            process(2, 1),
            process(3, 2),
            process(4, 3),
            process(5, 2),
            process(6, 5),
        ];
        let mut found = descendants(&all, &[2], &HashSet::from([5]));
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
        assert_eq!(children(&all, 2), [3, 5]);
    }

    #[test]
    fn a_snapshot_holds_this_process() {
        let me = std::process::id();
        assert!(snapshot().iter().any(|stat| stat.pid == me));
    }
}
