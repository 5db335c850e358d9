//! `grace metrics`: what a scraper gets, here.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show;

/// Figures of the fleet, its traffic and Grace itself, as Prometheus reads them
#[derive(Debug, Args)]
pub struct Metrics {}

impl Metrics {
    /// Prints them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let api = globals.api()?;
        if globals.json {
            let families: Value = api.get("/v1/metrics")?;
            show::document(&families)?;
        } else {
            show::line(api.get_text("/metrics")?.trim_end());
        }
        Ok(ExitCode::SUCCESS)
    }
}
