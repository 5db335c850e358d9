//! `grace demo`: the fleet that is broken and heals.

use clap::Args;
use grace_demo::Options;

use crate::place::Globals;
use crate::problem::{OrProblem, Outcome};

/// Break a fleet under load in four ways and watch it heal
#[derive(Debug, Args)]
pub struct Demo {
    /// Reflex and playbooks off: nothing may heal
    #[arg(long)]
    no_heal: bool,
    /// Second tries off: requests must fail
    #[arg(long)]
    no_retry: bool,
    /// Leave the fleet up
    #[arg(long)]
    keep: bool,
}

impl Demo {
    /// Plays it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let grace = std::env::current_exe().or_problem("cannot find this program's file", "")?;
        Ok(grace_demo::main(&Options {
            grace,
            json: globals.json,
            no_heal: self.no_heal,
            no_retry: self.no_retry,
            keep: self.keep,
        }))
    }
}
