//! `grace agent fix`: a directory and a failing command in, a diff out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use grace_agent::{Report, Request, Verdict};

use super::units::time;
use crate::front::Signals;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};

/// Search for a small change that makes a failing command pass, and prove it
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 fixed, 1 not fixed, 2 refused.")]
pub struct Fix {
    /// The directory with the source; it is read, and written only with --apply
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The command that fails, for `sh -c` in a copy of DIR, without network
    #[arg(long, value_name = "CMD")]
    test: OsString,
    /// For the whole search
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    budget: Duration,
    /// For one run of CMD; what takes longer hangs, and has failed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    test_timeout: Duration,
    /// The same seed gives the same diff
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write the fix to DIR
    #[arg(long)]
    apply: bool,
}

impl Fix {
    /// Searches.
    pub fn run(self, globals: &Globals) -> Outcome {
        let request = Request {
            dir: self.dir,
            test: self.test,
            budget: self.budget,
            timeout: self.test_timeout,
            seed: self.seed,
            apply: self.apply,
            env: std::env::vars_os().collect(),
            scratch: std::env::temp_dir(),
        };
        let stop = interrupted()?;
        let answer = grace_agent::fix(&request, &stop, &mut |note| eprintln!("note: {note}"));
        let report = answer
            .unwrap_or_else(|refusal| Report::without(Verdict::Refused, with_sources(&refusal)));
        if globals.json {
            let text = serde_json::to_string(&report).or_problem("cannot write the report", "")?;
            println!("{text}");
        } else {
            show(&report, request.apply);
        }
        Ok(match report.result {
            Verdict::Fixed => ExitCode::SUCCESS,
            Verdict::NotFixed => ExitCode::from(1),
            Verdict::Refused => ExitCode::from(2),
        })
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// The diff alone on standard output, so that it can be piped to `patch`.
fn show(report: &Report, applied: bool) {
    print!("{}", report.diff);
    let court = &report.court;
    match report.result {
        Verdict::Fixed => {
            eprintln!("fixed: {}", report.cause);
            eprintln!(
                "{} tries in {:.1} s; deletion beaten: {}; neighbours: {} run, {} diverged; held out: {} run, {} failed",
                report.tries,
                report.seconds,
                if court.deletion_beaten { "yes" } else { "no" },
                court.neighbours.run,
                court.neighbours.diverged,
                court.held_out.run,
                court.held_out.failed,
            );
            if applied {
                eprintln!("the directory is changed");
            }
        }
        Verdict::NotFixed => eprintln!(
            "not fixed: {} ({} tries in {:.1} s)",
            report.cause, report.tries, report.seconds
        ),
        Verdict::Refused => eprintln!("refused: {}", report.cause),
    }
}

/// Becomes true when this process is told to end: copies must not stay behind.
fn interrupted() -> Result<Arc<AtomicBool>, Problem> {
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
