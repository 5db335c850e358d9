//! The demo: a fleet of real processes under real load is broken in four ways, one after another,
//! and watched from outside while it heals. It drives the `grace` binary as a user does and knows
//! nothing of its inside: whether something is healed is judged by the demo's own probe, the
//! process table and the bytes on disk.

#![allow(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null for what is absent"
)]

pub mod client;
mod fault;
mod fleet;
pub mod judge;
mod load;
mod pin;
mod report;
mod screen;
mod story;
pub mod strike;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::load::Load;
use crate::report::Report;
use crate::screen::Screen;

pub use crate::screen::Show;

/// What the demo is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The `grace` binary; it also holds the sample worker and the load.
    pub grace: PathBuf,
    /// One JSON document on standard output instead of the table.
    pub json: bool,
    /// Without reflex and playbooks: nothing may heal.
    pub no_heal: bool,
    /// Without second tries: requests must fail.
    pub no_retry: bool,
    /// Leave the fleet up.
    pub keep: bool,
    /// What a person sees on standard error meanwhile.
    pub show: Show,
    /// Set from outside: end early, and leave nothing behind.
    pub stop: Arc<AtomicBool>,
}

/// Instances in the fleet.
const INSTANCES: usize = 6;
/// Requests a second, open loop.
const RATE: u32 = 600;
/// Time from a fault to the verdict that it does not heal.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same when nothing is meant to heal.
const PATIENCE_NO_HEAL: Duration = Duration::from_secs(5);
/// Quiet time under load before the first fault and after each.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs the demo. 0: all healed and no request failed; 1: not so; 2: it could not run.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    match play(options) {
        Ok(report) => {
            report.print(options);
            ExitCode::from(u8::from(!report.all_good()))
        }
        Err(error) => {
            let error = match options.stop.load(Ordering::Relaxed) {
                // Whatever broke in that moment broke of it.
                true => anyhow::anyhow!("it was interrupted"),
                false => error,
            };
            eprintln!("error: the demo could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn play(options: &Options) -> Result<Report> {
    let mut screen = Screen::new(options.show, Arc::clone(&options.stop))?;
    screen.title(&format!(
        "A fleet of {INSTANCES} processes behind one port, {RATE} requests/s, four faults{}{}",
        if options.no_heal { ", healing off" } else { "" },
        if options.no_retry {
            ", second tries off"
        } else {
            ""
        },
    ));
    let fleet = Fleet::start(options, INSTANCES).context("the fleet did not start")?;
    let first = fleet.instances()?;
    screen.first(&first);
    let mut load =
        Load::start(&options.grace, &fleet.url(), RATE).context("the load did not start")?;
    screen.load(load.count());
    load.warm_up(PAUSE, &screen)?;

    let mut outcomes = Vec::new();
    let patience = if options.no_heal {
        PATIENCE_NO_HEAL
    } else {
        PATIENCE
    };
    for (fault, instance) in Fault::all().into_iter().zip(&first) {
        let outcome = fault::induce(fault, &instance.id, &fleet, patience, &mut screen)?;
        screen.outcome(&outcome, &load.seen());
        outcomes.push(outcome);
        screen.rest(PAUSE)?;
    }
    let requests = load.stop()?;
    drop(screen);
    let last = fleet.instances()?;
    let report = Report {
        faults: outcomes,
        requests,
        instances: last,
    };
    if options.keep {
        fleet.keep();
    } else {
        fleet.stop()?;
    }
    Ok(report)
}
