//! `grace demo`: the fleet that is broken and heals.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use grace_demo::{Options, Show};

use crate::front::Signals;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};

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
            show: show(globals.json),
            stop: interrupted()?,
        }))
    }
}

/// A person at a terminal sees the fleet live; a pipe gets lines; whoever wants JSON and looks at
/// nothing gets nothing else.
fn show(json: bool) -> Show {
    let stderr = std::io::stderr();
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if stderr.is_terminal() && !dumb {
        let choice = anstream::AutoStream::choice(&stderr);
        let colour = choice != anstream::ColorChoice::Never;
        return Show::Live { colour };
    }
    if json && !stderr.is_terminal() {
        Show::Nothing
    } else {
        Show::Lines
    }
}

/// Becomes true when this process is told to end: no fleet must stay behind.
pub fn interrupted() -> Result<Arc<AtomicBool>, Problem> {
    let signals = Signals::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&stop);
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            while !signals.wait(Duration::from_secs(60)) {}
            tell.store(true, Ordering::Relaxed);
        })
        .or_problem("cannot wait for signals", "")?;
    Ok(stop)
}
