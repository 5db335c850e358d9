//! The processes that Grace starts itself, and the programs that the demo and the tests use.

mod check;
mod front;
mod healer;
mod precompile;

use std::ffi::OsString;
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
    /// The first process of a copy of an instance
    Copy,
    /// The front after an upgrade
    Front {
        /// The state directory goes with it
        #[arg(long)]
        temporary: bool,
    },
    /// Whether this program takes a host that another one runs
    Check,
    /// Compiles components ahead of time
    Precompile(precompile::Precompile),
}

impl Internal {
    /// Is that process until it ends.
    pub fn run(self, globals: &Globals) -> Outcome {
        let which = match self.which {
            Which::Precompile(command) => return command.run(globals),
            Which::Copy => {
                return grace_trial::inside()
                    .map(|()| ExitCode::SUCCESS)
                    .map_err(|error| Problem::new(error.to_string(), ""));
            }
            other => other,
        };
        let Some(state) = globals.given_state()? else {
            return Err(Problem::new(
                "internal processes need --state",
                "`grace up` starts them",
            ));
        };
        match which {
            Which::Keeper => process("keeper", || grace_supervisor::keeper::main(&state)),
            Which::Supervisor => process("supervisor", || grace_supervisor::main(&state)),
            Which::Proxy => process("proxy", || grace_proxy::main(&state)),
            Which::Healer => process("healer", || healer::main(&state)),
            Which::Front { temporary } => {
                log::of_command();
                front::run(&Layout::new(state), globals.json, temporary)
            }
            Which::Check => check::run(globals, &Layout::new(state)),
            Which::Precompile(_) | Which::Copy => Ok(ExitCode::SUCCESS),
        }
    }
}

fn process<E: std::fmt::Display>(
    name: &'static str,
    main: impl FnOnce() -> Result<(), E>,
) -> Outcome {
    log::of_process(name);
    match main() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            // Into the log with its time; nobody looks at a terminal here.
            tracing::error!("ends: {error}");
            Ok(ExitCode::from(2))
        }
    }
}

/// The sample worker, the load and what chaos starts take their arguments as they are.
pub fn borrowed(args: &[OsString]) -> Option<ExitCode> {
    if let [_, internal, which, rest @ ..] = args
        && internal == "internal"
    {
        match (which.to_str(), rest) {
            (Some("chaos-owner"), []) => return Some(grace_chaos::own()),
            (Some("chaos-load"), [kind]) => {
                return Some(grace_chaos::load(kind.to_str().unwrap_or_default()));
            }
            _ => {}
        }
    }
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
