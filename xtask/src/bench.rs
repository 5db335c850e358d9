//! `cargo xtask bench`.

use std::process::ExitCode;

use anyhow::{Result, bail};

pub fn run(_args: &[String]) -> Result<ExitCode> {
    bail!("no bench has been written yet")
}
