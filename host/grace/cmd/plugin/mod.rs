//! `grace plugin`: detectors and actions. All but `list` of a running host work without one.

mod build;
mod check;
mod grant;
mod list;
mod new;

use clap::{Args, Subcommand};

use crate::place::Globals;
use crate::problem::Outcome;

/// Detectors and actions: list, build, check, grant
#[derive(Debug, Args)]
pub struct Plugin {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All plugins and whether they are live (this is the default)
    List,
    /// Make a folder with a new plugin that builds as it is
    New(new::New),
    /// Build the plugin of a folder
    Build(build::Build),
    /// Build it, and run its cases in the sandbox of a real host
    Test(build::Test),
    /// Whether a component would be accepted; 1 if not
    Check(check::Check),
    /// What is in a component
    Inspect(check::Inspect),
    /// Let a plugin do something it asks for
    Grant(grant::Grant),
}

impl Plugin {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        match self.what.unwrap_or(What::List) {
            What::List => list::list(globals),
            What::New(command) => command.run(globals),
            What::Build(command) => command.run(globals),
            What::Test(command) => command.run(globals),
            What::Check(command) => command.run(globals),
            What::Inspect(command) => command.run(globals),
            What::Grant(command) => command.run(globals),
        }
    }
}
