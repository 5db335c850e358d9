//! The end of everything an instance has left behind: children, grandchildren, and what
//! called setsid and forked twice. Also as an ordinary user, as far as that user may look.
//! It never ends what it is told to keep, nor itself.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use grace_model::instance::ProcessId;

use crate::error::OsError;
use crate::process::{ProcStat, boot_id, environ_value};
use crate::signal::Signal;
use crate::tree;
use crate::{pidfd, process};

/// The variable that every process of an instance inherits.
pub const MARKER: &str = "GRACE_INSTANCE";

/// Whose leftovers, and what is none.
#[derive(Debug, Clone)]
pub struct Leftovers<'a> {
    /// The instance's main process, alive or dead. It is ended too.
    pub main: Option<&'a ProcessId>,
    /// Whether main led a session or group of its own, so that its number finds members.
    pub main_leads: bool,
    /// The value of [`MARKER`] in the instance's environment; unique on this machine.
    pub marker: &'a str,
    /// Processes that adopt orphans (supervisor, keeper). Their children that are not in
    /// `keep` and carry no other instance's marker are leftovers.
    pub adopters: &'a [u32],
    /// Never ended, nor what descends from them without our marker: other instances, Grace's
    /// own processes.
    pub keep: &'a [u32],
}

/// What was done.
#[derive(Debug, Default)]
pub struct Ended {
    /// Processes that are dead now.
    pub ended: Vec<u32>,
    /// Processes that are not.
    pub stayed: Vec<Stayed>,
}

/// A leftover that could not be ended in time.
#[derive(Debug)]
pub struct Stayed {
    /// Its pid.
    pub pid: u32,
    /// Its program's name.
    pub name: String,
    /// Why.
    pub reason: String,
}

struct Target {
    name: String,
    handle: OwnedFd,
    problem: Option<OsError>,
}

/// Finds and ends leftovers in rounds until none is left or `longest` is over: what is found
/// is stopped first, so that it starts nothing while the rest is looked for, then killed. The
/// dead are not reaped: their parents do that.
#[must_use]
pub fn end_leftovers(of: &Leftovers<'_>, longest: Duration) -> Ended {
    let end = Instant::now().checked_add(longest);
    let over = || end.is_some_and(|end| Instant::now() >= end);
    let mut targets: HashMap<(u32, u64), Target> = HashMap::new();
    loop {
        // Stopping until nothing new appears bounds a family that forks while it is hunted.
        let mut fresh = stop_new(of, &mut targets);
        let mut living: Vec<_> = targets
            .iter_mut()
            .filter(|(_, target)| !is_dead(target))
            .collect();
        if !fresh && living.is_empty() {
            break;
        }
        while fresh && !over() {
            fresh = stop_new(of, &mut targets);
        }
        living = targets
            .iter_mut()
            .filter(|(_, target)| !is_dead(target))
            .collect();
        for (_, target) in &mut living {
            target.problem = match pidfd::send_signal(&target.handle, Signal::Kill) {
                Err(error) if !error.is_absent() => Some(error),
                _ => None,
            };
        }
        for (_, target) in &living {
            let left = end.map_or(longest, |end| end.saturating_duration_since(Instant::now()));
            // One that may not be killed must not use up the others' time.
            let left = if target.problem.is_some() {
                Duration::ZERO
            } else {
                left
            };
            let _ = pidfd::wait_dead(&target.handle, left);
        }
        let hopeless = targets
            .values()
            .all(|target| target.problem.is_some() || is_dead(target));
        if over() || (hopeless && targets.values().any(|target| target.problem.is_some())) {
            break;
        }
    }
    report(targets)
}

/// What would be ended now, without touching it.
#[must_use]
pub fn find_leftovers(of: &Leftovers<'_>) -> Vec<u32> {
    find(of, &HashSet::new())
        .into_iter()
        .map(|stat| stat.pid)
        .collect()
}

/// Stops leftovers that are not known yet; says whether there were any.
fn stop_new(of: &Leftovers<'_>, targets: &mut HashMap<(u32, u64), Target>) -> bool {
    let known: HashSet<(u32, u64)> = targets.keys().copied().collect();
    let mut fresh = false;
    for stat in find(of, &known) {
        let key = (stat.pid, stat.start_time);
        if targets.contains_key(&key) {
            continue;
        }
        let id = ProcessId {
            pid: stat.pid,
            start_time: stat.start_time,
            boot_id: boot_id().to_owned(),
        };
        // None: it ended since the snapshot.
        let Ok(Some(handle)) = pidfd::open_same(&id) else {
            continue;
        };
        let _ = pidfd::send_signal(&handle, Signal::Stop);
        targets.insert(
            key,
            Target {
                name: stat.name,
                handle,
                problem: None,
            },
        );
        fresh = true;
    }
    fresh
}

fn find(of: &Leftovers<'_>, known: &HashSet<(u32, u64)>) -> Vec<ProcStat> {
    let all = tree::snapshot();
    let me = std::process::id();
    let barred: HashSet<u32> = of
        .keep
        .iter()
        .chain(of.adopters)
        .copied()
        .chain([me, 1])
        .collect();
    let main_alive = of.main.filter(|main| process::is_same(main));
    // When the number is another process's by now, it says nothing about sessions.
    let main_number = of.main.map(|main| main.pid).filter(|pid| {
        of.main_leads && (main_alive.is_some() || !all.iter().any(|stat| stat.pid == *pid))
    });
    let mut roots: HashSet<u32> = HashSet::new();
    for stat in &all {
        if barred.contains(&stat.pid) {
            continue;
        }
        let is_known = known.contains(&(stat.pid, stat.start_time));
        let is_main = main_alive.is_some_and(|main| main.pid == stat.pid);
        let in_session =
            main_number.is_some_and(|number| stat.session == number || stat.pgrp == number);
        if is_known || is_main || in_session {
            roots.insert(stat.pid);
            continue;
        }
        let marker = environ_value(stat.pid, MARKER);
        let adopted = of.adopters.contains(&stat.ppid);
        if marker.as_deref() == Some(of.marker) || (adopted && marker.is_none()) {
            roots.insert(stat.pid);
        }
    }
    let list: Vec<u32> = roots.iter().copied().collect();
    roots.extend(tree::descendants(&all, &list, &barred));
    all.into_iter()
        .filter(|stat| roots.contains(&stat.pid) && !stat.is_gone())
        .collect()
}

fn is_dead(target: &Target) -> bool {
    pidfd::is_dead(&target.handle).unwrap_or(false)
}

fn report(targets: HashMap<(u32, u64), Target>) -> Ended {
    let mut done = Ended::default();
    for ((pid, _), target) in targets {
        if is_dead(&target) {
            done.ended.push(pid);
            continue;
        }
        let state = process::stat(pid).map_or('?', |stat| stat.state);
        let reason = target.problem.map_or_else(
            || format!("did not die of SIGKILL in time (state {state})"),
            |error| error.to_string(),
        );
        done.stayed.push(Stayed {
            pid,
            name: target.name,
            reason,
        });
    }
    done.ended.sort_unstable();
    done.stayed.sort_by_key(|stayed| stayed.pid);
    done
}
