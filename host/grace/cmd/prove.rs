//! `grace prove`: what of its claims Grace proves on this machine.

use std::path::PathBuf;

use clap::Args;
use grace_prove::Options;

use super::demo;
use crate::builtin;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome};

/// Prove what Grace claims of itself, each with a control that must fail
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all proven, 1 some not proven, 2 it could not run, \
    3 some not possible on this machine and the others proven."
)]
pub struct Prove {
    /// Only these claims
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Name the claims and their controls, and try none
    #[arg(long)]
    list: bool,
    /// Under two minutes: fewer faults a claim, shorter waits in the controls
    #[arg(long)]
    quick: bool,
    /// Also write a report for a browser, one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Prove {
    /// Proves.
    pub fn run(self, globals: &Globals) -> Outcome {
        let grace = std::env::current_exe().or_problem("cannot find this program's file", "")?;
        Ok(grace_prove::main(&Options {
            grace,
            component: builtin::PROOF_COMPONENT,
            only: self.ids,
            list: self.list,
            quick: self.quick,
            json: globals.json,
            html: self.html,
            told: !globals.json,
            stop: demo::interrupted()?,
        }))
    }
}
