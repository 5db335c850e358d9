//! The processes that Grace starts itself, and the programs that the demo and the tests use.

mod healer;
mod precompile;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use grace_model::layout::Layout;

use crate::log;
use crate::place::Globals;
use crate::problem::{Outcome, Problem};

/// Processes that Grace starts itself
#[derive(Debug, Args)]
pub struct Internal {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Holds files, starts the supervisor
    Keeper,
    /// Starts, watches and restarts everything
    Supervisor,
    /// The load balancer
    Proxy,
    /// Detectors, incidents, playbooks, API
    Healer,
    /// Compiles components ahead of time
    Precompile(precompile::Precompile),
}

impl Internal {
    /// Is that process until it ends.
    pub fn run(self, globals: &Globals) -> Outcome {
        let which = match self.which {
            Which::Precompile(command) => return command.run(globals),
            other => other,
        };
        let Some(state) = globals.given_state()? else {
            return Err(Problem::new(
                "internal processes need --state",
                "`grace up` starts them",
            ));
        };
        let file = Layout::new(&state).logs().join("grace.log");
        match which {
            Which::Keeper => process(&file, "keeper", || grace_supervisor::keeper::main(&state)),
            Which::Supervisor => process(&file, "supervisor", || grace_supervisor::main(&state)),
            Which::Proxy => process(&file, "proxy", || grace_proxy::main(&state)),
            Which::Healer => process(&file, "healer", || healer::main(&state)),
            Which::Precompile(_) => Ok(ExitCode::SUCCESS),
        }
    }
}

fn process<E: std::fmt::Display>(
    file: &Path,
    name: &'static str,
    main: impl FnOnce() -> Result<(), E>,
) -> Outcome {
    log::to_file(file, name);
    main().map(|()| ExitCode::SUCCESS).map_err(|error| {
        let text = error.to_string();
        tracing::error!("ends: {text}");
        Problem::new(format!("{name}: {text}"), "")
    })
}

/// The sample worker and the load take their arguments as they are: none of them is ours.
pub fn borrowed(args: &[OsString]) -> Option<ExitCode> {
    let [_, internal, which, rest @ ..] = args else {
        return None;
    };
    if internal != "internal" {
        return None;
    }
    match which.to_str()? {
        "shop-worker" => Some(grace_workers::shop::command(rest.iter().cloned())),
        "open-load" => Some(grace_workers::load::command(rest.iter().cloned())),
        _ => None,
    }
}
