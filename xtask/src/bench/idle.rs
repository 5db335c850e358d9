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
    let status = fleet.ask(&["status", "--json"])?;
    let mut pids: Vec<u64> = status["processes"]
        .as_array()
        .context("no processes")?
        .iter()
        .filter_map(|process| process["pid"].as_u64())
        .filter(|pid| *pid > 0)
        .collect();
    let instances = fleet.instances()?;
    pids.extend(instances.iter().map(|(_, pid, _)| u64::from(*pid)));
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

fn pss_kib(pid: u64) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .context("no Pss")?;
    Ok(line
        .split_whitespace()
        .next()
        .context("no number")?
        .parse()?)
}

fn ticks(pid: u64) -> Result<u64> {
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
