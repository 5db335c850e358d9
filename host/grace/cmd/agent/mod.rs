//! `grace agent`: repairs without a host.

mod fix;
mod units;

use clap::{Args, Subcommand};

use crate::place::Globals;
use crate::problem::Outcome;

/// Repair a program whose test command fails
#[derive(Debug, Args)]
pub struct Agent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Search for a small change that makes a failing command pass, and prove it
    Fix(fix::Fix),
}

impl Agent {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        match self.command {
            Command::Fix(command) => command.run(globals),
        }
    }
}
