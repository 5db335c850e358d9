//! What a host costs when nothing happens: memory and processor time of all its processes, those
//! of Grace and the six instances that it probes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::fleet::Fleet;
use super::row::{Figure, Spec, at_most};

pub const ROWS: &[Spec] = &[
    at_most("idle_mib", "MiB", "", 80.0),
    at_most("idle_cpu_percent", "percent", "", 1.0),
];

pub fn measure(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 6, 0, 2)?;
    // What starting needs is over after a while.
    std::thread::sleep(Duration::from_secs(15));
    let own = fleet.processes()?.into_iter().map(|(_, pid)| pid);
    let instances = fleet.instances()?.into_iter().map(|(_, pid, _)| pid);
    let pids: Vec<u32> = own.chain(instances).filter(|pid| *pid > 0).collect();
    let kib: u64 = pids.iter().map(|pid| pss_kib(*pid)).sum::<Result<u64>>()?;
    let before: u64 = pids.iter().map(|pid| ticks(*pid)).sum::<Result<u64>>()?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(30));
    let after: u64 = pids.iter().map(|pid| ticks(*pid)).sum::<Result<u64>>()?;
    // USER_HZ is 100 on every Linux that Grace runs on.
    let seconds = (after - before) as f64 / 100.0;
    let percent = 100.0 * seconds / begun.elapsed().as_secs_f64();
    Ok(vec![
        Figure::alone(&ROWS[0], kib as f64 / 1024.0),
        Figure::alone(&ROWS[1], percent),
    ])
}

/// Proportional set size of a process.
pub fn pss_kib(pid: u32) -> Result<u64> {
    rolled_up(pid, "Pss:")
}

/// The part of it that is in no file: what a process has made itself.
pub fn own_kib(pid: u32) -> Result<u64> {
    rolled_up(pid, "Pss_Anon:")
}

fn rolled_up(pid: u32, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    Ok(line
        .and_then(|line| line.split_whitespace().next())
        .with_context(|| format!("no {key} in smaps_rollup"))?
        .parse()?)
}

/// Processor time of a process, in 1/100 s.
pub fn ticks(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit(')').next().context("no stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let at = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
            .context("no ticks")
    };
    Ok(at(11)? + at(12)?)
}
