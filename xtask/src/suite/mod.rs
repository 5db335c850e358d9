//! `cargo xtask test`: every check, part by part. A test whose tool is missing says so in a file
//! and is listed as NOT RUN; with `--full` it fails.

mod as_user;
mod part;
mod times;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::clock;
use crate::command::{cores, target};
use part::{PARTS, check};

/// What every part is told.
pub struct Run {
    full: bool,
    not_run: PathBuf,
}

impl Run {
    /// Tells a command of tests where to write what did not run, and whether that is a failure.
    fn told<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("GRACE_NOT_RUN", &self.not_run);
        if self.full {
            command.env("GRACE_FULL", "1");
        }
        command
    }

    /// A part, or something of it, that cannot run on this machine.
    fn missing(&self, what: &str, why: &str) -> Result<()> {
        if self.full {
            bail!("NOT RUN: {what}: {why}");
        }
        let mut text = fs::read_to_string(&self.not_run).unwrap_or_default();
        text += &format!("{what}: {why}\n");
        fs::write(&self.not_run, text)?;
        Ok(())
    }
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut full = false;
    let mut only: Vec<&str> = Vec::new();
    for arg in args {
        match arg.as_str() {
            "--full" => full = true,
            "--list" => return list(),
            name if PARTS.iter().any(|part| part.name == name) => only.push(name),
            other => bail!("there is no part {other:?}; `cargo xtask test --list` names them"),
        }
    }
    // Before anything is built.
    let cold = !target().join("debug/grace").exists();
    let run = Run {
        full,
        not_run: target().join("not-run.txt"),
    };
    fs::create_dir_all(target())?;
    fs::write(&run.not_run, "")?;
    let mut times = times::read();
    let mut failed: Vec<(&str, String)> = Vec::new();
    let begun = Instant::now();
    let mut ran = 0;
    for part in PARTS {
        if !only.is_empty() && !only.contains(&part.name) {
            continue;
        }
        eprintln!("== {}: {}", part.name, part.what);
        ran += 1;
        let at = Instant::now();
        match check(part.name, &run) {
            Ok(()) => {
                times.insert(part.name.to_owned(), at.elapsed().as_secs());
                eprintln!("== {}: passed in {}", part.name, clock(at.elapsed()));
            }
            Err(error) => {
                eprintln!("== {}: FAILED: {error:#}", part.name);
                failed.push((part.name, format!("{error:#}")));
            }
        }
    }
    times::write(&times)?;
    let broken = failed.len();
    let missing = not_run(&run.not_run)?;
    for line in &missing {
        println!("NOT RUN: {line}");
    }
    if full && !missing.is_empty() {
        failed.push(("full", format!("{} tests did not run", missing.len())));
    }
    if only.is_empty()
        && let Some(over) = times::over(cold, begun.elapsed(), cores())
    {
        if full {
            failed.push(("time", over));
        } else {
            println!("{over}");
        }
    }
    println!("{} parts in {}", ran, clock(begun.elapsed()));
    for (part, error) in &failed {
        println!(
            "FAILED: {part}: {}",
            error.lines().next().unwrap_or_default()
        );
    }
    println!("{} passed, {} failed", ran - broken, failed.len());
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn not_run(file: &Path) -> Result<Vec<String>> {
    let mut lines: Vec<String> = fs::read_to_string(file)?
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.dedup();
    Ok(lines)
}

fn list() -> Result<ExitCode> {
    let times = times::read();
    for part in PARTS {
        let (seconds, mark) = match times.get(part.name) {
            Some(seconds) => (*seconds, "last run here"),
            None => (part.usual, "usual, warm"),
        };
        println!(
            "{:<14} {:>6} ({mark})  {}",
            part.name,
            clock(Duration::from_secs(seconds)),
            part.what
        );
    }
    Ok(ExitCode::SUCCESS)
}
