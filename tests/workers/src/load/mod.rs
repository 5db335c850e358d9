//! The open-loop load: requests leave on a schedule whether the ones before were answered or
//! not, and none is ever sent twice. What it counts is what clients would have seen.

mod connections;
mod options;
mod report;
mod schedule;

use std::ffi::OsString;
use std::process::ExitCode;

pub use options::{HELP, Options};
pub use report::{Failure, Progress, Report};
pub use schedule::{Stop, run};

/// Runs a load by its command line, without the program's name. Exit 0: every request was
/// answered; 1: some were not; 2: it could not run.
pub fn command(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("open-load: {error:#}");
            return ExitCode::from(2);
        }
    };
    let stop = Stop::new();
    let result = stop.on_signals().and_then(|()| run(&options, &stop, print));
    match result {
        Ok(report) => {
            print(&report);
            if report.failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("open-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn print(line: &impl serde::Serialize) {
    use std::io::Write;
    if let Ok(text) = serde_json::to_string(line) {
        // Who stopped reading our lines still wants the load.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}
