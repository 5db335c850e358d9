//! From a fresh clone to the first heal, as a newcomer would see it. Crates may come from cargo's
//! own download cache; nothing is built beforehand.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::fleet::scratch;
use super::row::Row;
use crate::command::{root, succeed};

pub const ROWS: &[&str] = &["clone_to_heal_s"];

pub fn measure() -> Result<Vec<Row>> {
    let dir = scratch("clone")?;
    let done = clone_and_heal(&dir.join("grace"));
    std::fs::remove_dir_all(&dir)?;
    Ok(vec![Row {
        name: ROWS[0],
        unit: "s",
        better: "lower",
        ours: done?,
        peer: None,
        peer_name: "",
        goal: Some(600.0),
        goal_on: "ours",
    }])
}

fn clone_and_heal(to: &std::path::Path) -> Result<f64> {
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
