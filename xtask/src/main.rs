//! `cargo xtask`: builds, demonstrates, tests, measures and packs Grace. It names no crate of
//! Grace, so that it builds in seconds and works when Grace does not compile.

#![allow(
    clippy::indexing_slicing,
    reason = "indexing JSON gives null, and a tool of ours may panic"
)]

mod bench;
mod build;
mod claims;
mod command;
mod demo;
mod dist;
mod plugins;
mod suite;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--json] [--no-heal] [--no-retry] [--keep]
                     build everything, run a fleet under load, break it, watch it heal
  test [--full] [--list] [PART ...]
                     every check: formatting, lints, unit, plugin and end-to-end tests, docs
                     --full: a test whose tool is missing fails instead of being listed
  plugins            build the components that Grace ships into plugins/out
  bench [NAME] [--json] [--seed N] [--with PATH]
                     measure against the peers, in interleaved rounds; repair takes a seed
  claims [--check]   the README's table of claims, from what `grace prove` proves here; with
                     --check a table that differs is told, with exit code 1
  dist [--dev]       one self-contained release binary in target/dist; with --dev one of the
                     development profile in target/dist-dev
  tidy               the house rules that a program can check

Exit codes: 0 done, 1 the answer is no, 2 it could not run.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match command {
        "demo" => demo::run(rest),
        "test" => suite::run(rest),
        "plugins" => plugins::build(&mut build::Progress::new()).map(|()| ExitCode::SUCCESS),
        "bench" => bench::run(rest),
        "claims" => claims::run(rest),
        "dist" => dist::run(rest),
        "tidy" => tidy::run(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(anyhow::anyhow!("there is no command {other:?}\n\n{HELP}")),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
