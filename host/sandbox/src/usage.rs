//! What an instance uses: all its processes, not the first alone. From its group where it has
//! one, else from `/proc`, where what has ended is counted as far as its parent waited for it.
//! Open files and disk are each process's own in either case: no group counts them.

mod members;

use std::collections::{HashMap, HashSet};
use std::fs;

use grace_model::usage::{NetworkBytes, Source, Usage};
use grace_os::cgroup::{self, Controller, Group, Version};
use grace_os::process::{self, ProcStat};
use grace_os::resources;

use members::Family;

/// Processes of one instance that are looked at one by one. A look costs some 30 us, and a fork
/// bomb must not take the looker's time; memory, processor time and threads of all of them come
/// from the group.
const SEEN_MOST: usize = 64;
/// Looks after which limits and namespaces are read anew: they hardly ever change.
const KEPT_LOOKS: u32 = 16;

/// Looks at many instances, cheaply: finds each one's group once, and lists processes once a
/// round and only if somebody has no group.
#[derive(Debug, Default)]
pub struct Usages {
    /// By main process.
    known: HashMap<u32, Known>,
    family: Option<Family>,
}

/// What is known of a main process beside its figures.
#[derive(Debug, Default)]
struct Known {
    /// Which process had the pid when this was learnt.
    start_time: u64,
    /// None: it has no group.
    group: Option<Group>,
    /// Soft limits of open files, by process.
    limits: HashMap<u32, Option<u64>>,
    own_network: bool,
    looks: u32,
}

impl Usages {
    /// Ends a round: all but these main processes are forgotten.
    pub fn end_round(&mut self, mains: &HashSet<u32>) {
        self.known.retain(|main, _| mains.contains(main));
        self.family = None;
    }

    /// What the instance with this main process uses; none when there is no such process.
    /// `group` is the name of its group, `shop-1.3`.
    pub fn of(&mut self, main: u32, group: &str) -> Option<Usage> {
        let stat = process::stat(main).filter(|stat| !stat.is_gone())?;
        let known = self.known.entry(main).or_default();
        if known.start_time != stat.start_time {
            *known = Known {
                start_time: stat.start_time,
                ..Known::default()
            };
        }
        if known.looks.is_multiple_of(KEPT_LOOKS) {
            if known.looks == 0 {
                known.group = find(main, group);
            }
            known.limits.clear();
            known.own_network = has_own_network(main);
        }
        known.looks = known.looks.wrapping_add(1).max(1);
        let listed = known.group.as_ref().map(Group::pids).unwrap_or_default();
        let (count, members): (usize, Vec<ProcStat>) = if listed.is_empty() {
            let family = self.family.get_or_insert_with(Family::look);
            let below = family.below(main);
            let seen = below.iter().copied().take(SEEN_MOST - 1).cloned();
            (below.len() + 1, [stat].into_iter().chain(seen).collect())
        } else {
            let seen = listed.iter().take(SEEN_MOST);
            let seen = seen.filter_map(|pid| process::stat(*pid));
            let seen: Vec<ProcStat> = seen.filter(|stat| !stat.is_gone()).collect();
            (listed.len().max(seen.len()), seen)
        };
        // Between the list and the look some may have ended; only those beyond it are unseen.
        let count = if count > SEEN_MOST {
            count
        } else {
            members.len()
        };
        Some(sum(main, &members, count, known))
    }
}

/// What one process uses, without its children; none when there is no such process.
#[must_use]
pub fn of_process(pid: u32) -> Option<OneProcess> {
    let stat = process::stat(pid).filter(|stat| !stat.is_gone())?;
    Some(OneProcess {
        cpu_us: in_us(stat.cpu_ticks),
        rss_bytes: stat.rss_pages.saturating_mul(resources::page_bytes()),
        threads: stat.threads,
        open_files: resources::open_files(pid),
    })
}

/// What one process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneProcess {
    /// Processor time so far.
    pub cpu_us: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open files; none when they may not be counted.
    pub open_files: Option<u64>,
}

/// The group of a process, if it is in one of this name.
fn find(pid: u32, name: &str) -> Option<Group> {
    let mut places = cgroup::of_process(pid).ok()?;
    places.retain(|place| place.dir.ends_with(name));
    (!places.is_empty()).then(|| Group::existing(places))
}

fn sum(main: u32, members: &[ProcStat], count: usize, known: &mut Known) -> Usage {
    let page = resources::page_bytes();
    let mut usage = Usage {
        processes: count as u64,
        processes_seen: members.len() as u64,
        ..Usage::default()
    };
    let mut ticks = 0_u64;
    let mut fullest = (0, 1);
    for stat in members {
        usage.threads += stat.threads;
        ticks += stat.cpu_ticks + stat.children_ticks;
        usage.rss_bytes += stat.rss_pages.saturating_mul(page);
        if let Some(open) = resources::open_files(stat.pid) {
            usage.open_files = Some(usage.open_files.unwrap_or(0).saturating_add(open));
            let limit = known.limits.entry(stat.pid);
            let limit = *limit.or_insert_with(|| resources::open_files_limit(stat.pid));
            // Compared as fractions, without dividing.
            if let Some(limit) = limit
                && (usage.fullest_open_files.is_none()
                    || u128::from(open) * fullest.1 > fullest.0 * u128::from(limit))
            {
                fullest = (open.into(), limit.into());
                usage.fullest_open_files = Some(open);
                usage.fullest_open_files_limit = Some(limit);
            }
        }
        if let Some((read, written)) = resources::disk_bytes(stat.pid) {
            usage.read_bytes = Some(usage.read_bytes.unwrap_or(0).saturating_add(read));
            usage.written_bytes = Some(usage.written_bytes.unwrap_or(0).saturating_add(written));
        }
    }
    let group = known.group.as_ref();
    usage.source = group.map_or(Source::Proc, source);
    let memory = group.and_then(Group::memory);
    usage.memory_bytes = memory.map_or(usage.rss_bytes, |memory| memory.used_bytes);
    usage.memory_limit_bytes = memory.and_then(|memory| memory.limit_bytes);
    usage.oom_kills = memory.map(|memory| memory.oom_kills);
    usage.threads_limit = group.and_then(Group::tasks_limit);
    if count > members.len() {
        usage.threads = group.and_then(Group::tasks).unwrap_or(usage.threads);
    }
    usage.cpu_us = group
        .and_then(Group::cpu_us)
        .unwrap_or_else(|| in_us(ticks));
    usage.own_network = known.own_network.then(|| network(main)).flatten();
    usage
}

fn source(group: &Group) -> Source {
    let counts = [Controller::Memory, Controller::CpuUsed, Controller::Pids];
    match counts.into_iter().find_map(|it| group.place(it)) {
        Some(place) if place.version == Version::V1 => Source::CgroupV1,
        Some(_) => Source::CgroupV2,
        None => Source::Proc,
    }
}

fn in_us(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000) / resources::ticks_per_second().max(1)
}

/// Whether a process has another network than this one.
fn has_own_network(pid: u32) -> bool {
    let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
    match (of(&pid.to_string()), of("self")) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    }
}

/// All interfaces of a process's network, loopback too: without a network it is the only one.
fn network(pid: u32) -> Option<NetworkBytes> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let mut sum = NetworkBytes::default();
    for line in text.lines() {
        let Some((_, figures)) = line.split_once(':') else {
            continue;
        };
        let mut figures = figures.split_ascii_whitespace();
        let mut number = |at| figures.nth(at)?.parse::<u64>().ok();
        // Received bytes are the first column, sent ones the ninth.
        if let (Some(received), Some(sent)) = (number(0), number(7)) {
            sum.received_bytes = sum.received_bytes.saturating_add(received);
            sum.sent_bytes = sum.sent_bytes.saturating_add(sent);
        }
    }
    Some(sum)
}
