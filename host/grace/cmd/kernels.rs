//! `grace kernels`.

use clap::Args;
use grace_model::status::Kernel;
use serde::{Deserialize, Serialize};

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};

/// The supervised parts of Grace itself
#[derive(Debug, Args)]
pub struct Kernels {}

/// The API's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    kernels: Vec<Kernel>,
}

impl Kernels {
    /// Shows them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let answer: Answer = globals.api()?.get("/v1/kernels")?;
        show::either(globals.json, &answer, || {
            let mut table = Table::new(
                [
                    "KERNEL",
                    "PROCESS",
                    "TIER",
                    "STATE",
                    "HEARTBEAT",
                    "RESTARTS",
                    "WORK",
                    "AFTER",
                ],
                "no kernel",
            );
            for kernel in &answer.kernels {
                let good = kernel.state == "running";
                table.row([
                    kernel.name.clone(),
                    kernel.process.clone(),
                    kernel.tier.to_string(),
                    show::paint(if good { show::GOOD } else { show::BAD }, &kernel.state),
                    show::age(kernel.heartbeat_age_ms),
                    kernel.restarts.to_string(),
                    kernel.work_done.to_string(),
                    kernel.depends_on.join(" "),
                ]);
            }
            table
        })
    }
}
