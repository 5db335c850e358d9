//! Builds with cargo and says how far it is and how long it may still take.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{cargo, line, output, root};

/// Lines about work under way, on standard error: one rewritten line on a terminal, a line now
/// and then elsewhere.
pub struct Progress {
    terminal: bool,
    last: Option<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            last: None,
        }
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        if self.terminal {
            eprintln!("\r\x1b[K{text}");
        } else {
            eprintln!("{text}");
        }
    }

    fn tick(&mut self, text: &str) {
        let wait = Duration::from_millis(if self.terminal { 100 } else { 15_000 });
        if self.last.is_some_and(|last| last.elapsed() < wait) {
            return;
        }
        self.last = Some(Instant::now());
        if self.terminal {
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }

    fn clear(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// Runs a `cargo build ...` command and shows its progress. `what` names it for people.
pub fn cargo_build(
    progress: &mut Progress,
    what: &str,
    mut command: Command,
) -> Result<Vec<PathBuf>> {
    let total = packages(&command)?.max(1);
    let begun = Instant::now();
    // The first line of each build comes at once.
    progress.last = None;
    command
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // Our line replaces cargo's own bar; warnings and errors still come through.
    command.arg("--quiet");
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", line(&command)))?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut seen: HashSet<String> = HashSet::new();
    let mut fresh = 0_usize;
    let mut built_at: Option<Instant> = None;
    let mut executables = Vec::new();
    for text in BufReader::new(stdout).lines() {
        let text = text?;
        let Ok(message) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let package = message["package_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if let Some(file) = message["executable"].as_str() {
            executables.push(PathBuf::from(file));
        }
        if seen.insert(package) && message["fresh"] == true {
            fresh += 1;
        } else if built_at.is_none() {
            built_at = Some(Instant::now());
        }
        let name = message["target"]["name"].as_str().unwrap_or_default();
        progress.tick(&state(
            what,
            seen.len(),
            fresh,
            total,
            begun.elapsed(),
            name,
        ));
    }
    let status = child.wait()?;
    progress.clear();
    if !status.success() {
        bail!(
            "{} failed ({status}); its messages are above",
            line(&command)
        );
    }
    let seconds = begun.elapsed().as_secs();
    if seconds > 2 {
        progress.say(&format!(
            "{what}: built in {}",
            clock(Duration::from_secs(seconds))
        ));
    }
    Ok(executables)
}

fn state(
    what: &str,
    done: usize,
    fresh: usize,
    total: usize,
    took: Duration,
    name: &str,
) -> String {
    let made = done.saturating_sub(fresh);
    let left = total.saturating_sub(done);
    // Packages differ in size; a mean over those made so far is the honest simple guess.
    let guess = if made >= 5 && left > 0 {
        let each = took.as_secs_f64() / made as f64;
        format!(
            ", about {} left",
            clock(Duration::from_secs_f64(each * left as f64))
        )
    } else {
        String::new()
    };
    format!(
        "{what}: {}/{} packages, {}{guess}  {name}",
        done.min(total),
        total,
        clock(took)
    )
}

pub fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// How many packages a build command will touch: those reachable from what it builds.
fn packages(command: &Command) -> Result<usize> {
    let args: Vec<String> = command
        .get_args()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version=1", "--filter-platform"]);
    let after = |flag: &str| {
        args.iter()
            .position(|a| a == flag)
            .and_then(|at| args.get(at + 1))
    };
    metadata.arg(after("--target").map_or("x86_64-unknown-linux-gnu", String::as_str));
    if let Some(dir) = command.get_current_dir() {
        metadata.current_dir(dir);
    } else {
        metadata.current_dir(root());
    }
    let text = output(&mut metadata)?;
    let value: Value = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let mut edges: HashMap<&str, Vec<&str>> = HashMap::new();
    for node in value["resolve"]["nodes"].as_array().into_iter().flatten() {
        let id = node["id"].as_str().unwrap_or_default();
        let to = node["deps"].as_array().into_iter().flatten().filter(|dep| {
            dep["dep_kinds"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|kind| kind["kind"] != "dev")
        });
        edges.insert(id, to.filter_map(|dep| dep["pkg"].as_str()).collect());
    }
    let wanted = after("--package").or_else(|| after("-p"));
    let members = value["workspace_members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut open: Vec<&str> = match wanted {
        Some(name) => members
            .filter(|id| id.contains(&format!("{name}@")) || id.contains(&format!("/{name}#")))
            .collect(),
        None if args.iter().any(|a| a == "--workspace") => members.collect(),
        None => value["resolve"]["root"].as_str().into_iter().collect(),
    };
    let mut seen: HashSet<&str> = HashSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(edges.get(id).into_iter().flatten().copied());
        }
    }
    Ok(seen.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_guessed_from_what_was_built_and_not_from_what_was_there() {
        let minute = Duration::from_secs(60);
        // 100 of 130 were there; 10 took a minute, 20 are left.
        let text = state("grace", 110, 100, 130, minute, "wasmtime");
        assert_eq!(
            text,
            "grace: 110/130 packages, 1:00, about 2:00 left  wasmtime"
        );
        // Too little is built for a guess, or nothing is left.
        for (done, fresh) in [(102, 100), (130, 100)] {
            let text = state("grace", done, fresh, 130, minute, "x");
            assert!(!text.contains("left"), "{text}");
        }
    }
}
