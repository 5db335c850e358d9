//! What a newcomer waits for: from a fresh clone to the first heal, and a demo that is built
//! already. Crates may come from cargo's own download cache; nothing else is there beforehand.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::bounded;
use super::row::{Figure, Spec, at_most};
use crate::command::{Scratch, root, succeed};

pub const ROWS: &[Spec] = &[at_most("clone_to_heal_s", "s", "", 600.0)];

pub const DEMO_ROWS: &[Spec] = &[at_most("demo_s", "s", "", 75.0)];

/// The longest that a demo may take: each of its four faults is given up after 20 s.
const DEMO: Duration = Duration::from_secs(240);

pub fn demo(grace: &Path) -> Result<Vec<Figure>> {
    let begun = Instant::now();
    let (status, _, words) = bounded(Command::new(grace).args(["demo", "--json"]), DEMO)?;
    if !status.success() {
        bail!("the demo ended with {status}: {}", words.trim());
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(vec![Figure::alone(&DEMO_ROWS[0], seconds)])
}

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
