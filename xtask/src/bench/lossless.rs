//! What clients lose while a service changes: rollouts of every kind, restarts of the only
//! instance, a death every second.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::fleet::{Fleet, workers};
use super::kill::kill;
use super::load::{Load, failed, longest};
use super::row::{Figure, Spec, at_most};
use crate::command::Scratch;

pub const ROLLING_ROWS: &[Spec] = &[at_most("rolling_failed", "requests", "", 0.0)];
pub const SINGLE_ROWS: &[Spec] = &[at_most("single_restart_failed", "requests", "", 0.0)];
pub const GAP_ROWS: &[Spec] = &[at_most("longest_gap_ms", "ms", "", 10.0)];

/// Requests a second.
const RATE: u32 = 1000;
/// Time in which rollouts are begun, and how much longer the load goes on.
const ROLLING: (Duration, Duration) = (Duration::from_secs(40), Duration::from_secs(30));
/// Restarts of the only instance, by turns by hand and by `kill -9`, and the time between.
const RESTARTS: (u32, Duration) = (8, Duration::from_secs(3));
/// Deaths of an instance in a round, one a second; and the rounds.
const DEATHS: (u32, usize) = (10, 3);

fn version(grace: &Path, number: usize) -> String {
    format!(
        "{}env = {{ VERSION = \"{number}\" }}\n",
        workers(grace, 4, "\"--log-rate\", \"0\"")
    )
}

/// Rolling, blue/green, canary and back, again and again.
pub fn rolling(grace: &Path) -> Result<Vec<Figure>> {
    let dir = Scratch::new("rolling")?;
    let fleet = Fleet::of(grace, dir, 1, &version(grace, 0))?;
    let load = Load {
        grace,
        listen: &fleet.listen,
        rate: RATE,
        time: ROLLING.0 + ROLLING.1,
    };
    let mut done = 0_usize;
    let report = load.while_it(|| {
        let begun = Instant::now();
        for way in ["rolling", "blue-green", "canary"].iter().cycle() {
            if begun.elapsed() >= ROLLING.0 {
                break;
            }
            fleet.write(1, &version(grace, done + 1))?;
            fleet.ask(&["fleet", "rollout", "shop", "--strategy", way, "--json"])?;
            done += 1;
            if done.is_multiple_of(4) {
                fleet.ask(&["fleet", "rollback", "shop", "--json"])?;
            }
        }
        if begun.elapsed() >= ROLLING.0 + ROLLING.1 {
            bail!("the last rollout took longer than the load");
        }
        Ok(())
    })?;
    eprintln!("{done} rollouts");
    if done < 3 {
        bail!("only {done} rollouts in {} s", ROLLING.0.as_secs());
    }
    Ok(vec![Figure::alone(&ROLLING_ROWS[0], failed(&[report])?)])
}

/// A service of one instance.
pub fn single(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 1, 0, 1)?;
    let load = Load {
        grace,
        listen: &fleet.listen,
        rate: RATE,
        time: RESTARTS.1 * (RESTARTS.0 + 2),
    };
    let report = load.while_it(|| {
        for number in 0..RESTARTS.0 {
            let begun = Instant::now();
            let instances = fleet.instances()?;
            let (id, pid, _) = &instances[0];
            if number.is_multiple_of(2) {
                fleet.ask(&["fleet", "restart", id, "--json"])?;
            } else if *pid > 1 {
                kill("KILL", *pid)?;
            } else {
                bail!("{id} does not run");
            }
            std::thread::sleep(RESTARTS.1.saturating_sub(begun.elapsed()));
        }
        Ok(())
    })?;
    Ok(vec![Figure::alone(&SINGLE_ROWS[0], failed(&[report])?)])
}

/// Six instances, one of which is killed every second.
pub fn gap(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 6, 0, 1)?;
    let load = Load {
        grace,
        listen: &fleet.listen,
        rate: 2 * RATE,
        time: Duration::from_secs(u64::from(DEATHS.0) + 4),
    };
    let mut reports = Vec::new();
    for _ in 0..DEATHS.1 {
        let report = load.while_it(|| {
            for turn in 0..DEATHS.0 {
                let begun = Instant::now();
                let instances = fleet.instances()?;
                let (_, pid, _) = &instances[turn as usize % instances.len()];
                if *pid > 1 {
                    kill("KILL", *pid)?;
                }
                std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
            }
            Ok(())
        })?;
        reports.push(report);
    }
    let longest = longest(&reports, "longest_gap_us")?;
    Ok(vec![Figure::alone(&GAP_ROWS[0], longest / 1000.0)])
}
