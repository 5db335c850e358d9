//! The sample worker: an HTTP/1.1 server that says who answered, obeys a configuration file,
//! and fails on request in the ways that real programs do.

mod answer;
mod faults;
mod options;
mod server;
mod settings;
mod state;
mod websocket;

use std::ffi::OsString;
use std::process::ExitCode;

pub use options::{HELP, Options};

/// Runs the worker by its command line, without the program's name, until it is told to end.
pub fn command(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("shop-worker: {error:#}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the worker until SIGTERM or SIGINT, and then until its requests are answered.
///
/// # Errors
/// When it cannot listen.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.fail_start {
        anyhow::bail!("told to fail its start");
    }
    faults::start(options);
    // One thread: when it hangs, everything about this worker hangs, as in most programs.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(server::serve(options))
}
