//! The `grace` command: reads its arguments, does one thing, says what came of it.

mod builtin;
mod capability;
mod cli;
mod cmd;
mod config;
mod front;
mod library;
mod log;
mod mark;
mod place;
mod problem;
mod show;
mod space;
mod state;
mod supervisor;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = cmd::internal::borrowed(&args) {
        return code;
    }
    let cli = cli::Cli::parse_from(args);
    let choice = match cli.globals.color {
        place::Color::Auto => anstream::ColorChoice::Auto,
        place::Color::Always => anstream::ColorChoice::Always,
        place::Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    let json = cli.globals.json;
    if !matches!(cli.command, cli::Command::Internal(_)) {
        log::of_command();
    }
    match cli.command.run(&cli.globals) {
        Ok(code) => code,
        Err(problem) => show::problem(&problem, json),
    }
}
