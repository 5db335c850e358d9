//! The open-loop load as a program. All it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    grace_workers::load::command(std::env::args_os().skip(1))
}
