//! From a fresh clone to the first heal, as a newcomer would see it. Crates may come from cargo's
//! own download cache; nothing is built beforehand.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::row::{Figure, Spec, at_most};
use crate::command::{Scratch, root, succeed};

pub const ROWS: &[Spec] = &[at_most("clone_to_heal_s", "s", "", 600.0)];

pub fn measure(_grace: &Path) -> Result<Vec<Figure>> {
    let dir = Scratch::new("clone")?;
    let seconds = clone_and_heal(&dir.path().join("grace"))?;
    Ok(vec![Figure::alone(&ROWS[0], seconds)])
}

fn clone_and_heal(to: &Path) -> Result<f64> {
    let begun = Instant::now();
    succeed(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(root())
            .arg(to),
    )?;
    let mut child = Command::new("cargo")
        .args(["xtask", "demo"])
        .current_dir(to)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().context("no output")?;
    let mut first = None;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if first.is_none() && line.contains("healed in ") {
            first = Some(begun.elapsed().as_secs_f64());
        }
    }
    let status = child.wait()?;
    match first {
        Some(seconds) => Ok(seconds),
        None => bail!("the demo of a fresh clone healed nothing ({status})"),
    }
}
