//! The sample worker as a program. All it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    grace_workers::shop::command(std::env::args_os().skip(1))
}
