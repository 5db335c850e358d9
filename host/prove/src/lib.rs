//! `grace prove`: for each claim that Grace makes of itself a proof on this machine and a control,
//! the same trial with the property broken, which must fail. It drives the `grace` binary from
//! outside on fleets in temporary directories and knows nothing of its inside: it looks at the
//! process table, at sockets, at bytes on disk, and is a client of its own.

#![allow(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null for what is absent"
)]

mod claim;
mod claims;
mod fleet;
mod html;
mod judge;
mod machine;
mod report;
mod stage;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

pub use crate::claim::{Claim, Seen, Trial, Variant};
pub use crate::report::{Control, Report, Row, Verdict};
pub use crate::stage::Stage;

/// What is to be proved, and how it is told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The `grace` binary; it also holds the sample service.
    pub grace: PathBuf,
    /// A component that can misbehave, which two claims drop into a host; none: those are not
    /// proven, and say why.
    pub component: Option<&'static [u8]>,
    /// Ids of claims; empty: all.
    pub only: Vec<String>,
    /// Only name the claims.
    pub list: bool,
    /// Fewer faults a claim and shorter waits in the controls.
    pub quick: bool,
    /// One JSON document on standard output.
    pub json: bool,
    /// Write a report for a browser into this file.
    pub html: Option<PathBuf>,
    /// Say on standard error what is being tried.
    pub told: bool,
    /// Set from outside: end early, and leave nothing behind.
    pub stop: Arc<AtomicBool>,
}

/// Proves. 0: all proven; 1: some not; 3: the others proven, and some not possible on this
/// machine; 2: it could not run.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    match prove(options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let error = match options.stop.load(Ordering::Relaxed) {
                true => anyhow::anyhow!("it was interrupted"),
                false => error,
            };
            eprintln!("error: nothing was proved: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn prove(options: &Options) -> Result<u8> {
    let chosen = choose(claims::ALL, &options.only)?;
    if options.list {
        table::list(&chosen, options.json)?;
        return Ok(0);
    }
    let report = judge::all(options, &chosen)?;
    if let Some(file) = &options.html {
        std::fs::write(file, html::page(&report))
            .with_context(|| format!("cannot write the report to {}", file.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", table::text(&report));
    }
    Ok(report.exit())
}

/// The claims of these ids, in the order of the list; all when none is named.
fn choose(all: &'static [Claim], only: &[String]) -> Result<Vec<&'static Claim>> {
    for id in only {
        if !all.iter().any(|claim| claim.id == id) {
            let ids: Vec<&str> = all.iter().map(|claim| claim.id).collect();
            bail!("there is no claim {id:?}; there are: {}", ids.join(", "));
        }
    }
    let wanted = |claim: &&Claim| only.is_empty() || only.iter().any(|id| id == claim.id);
    Ok(all.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests;
