//! `cargo xtask demo`: builds what is missing and hands over to `grace demo`, which is the demo
//! itself, the same in a release binary.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::{Progress, cargo_build};
use crate::command::{cargo, target};
use crate::plugins;

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut progress = Progress::new();
    plugins::build(&mut progress)?;
    let grace = host(&mut progress)?;
    let status = Command::new(&grace)
        .arg("demo")
        .args(args)
        .stdin(Stdio::inherit())
        .status()
        .with_context(|| format!("cannot start {}", grace.display()))?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(2))),
        None => bail!("the demo ended by a signal ({status})"),
    }
}

/// Builds the `grace` binary of the development profile, which the tests use too.
pub fn host(progress: &mut Progress) -> Result<std::path::PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "grace", "--bin", "grace"]);
    cargo_build(progress, "grace", command)?;
    Ok(target().join("debug").join("grace"))
}
