//! The rows of `bench repair`: faults in the programs of `tests/repair`, written down or drawn by
//! the seed from mutations, each given to `grace agent fix` and judged by tests that it never saw.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::mutate::mutants;
use super::process::{descendants, end};
use super::row::{Figure, Spec, at_most};
use crate::command::{root, which};

/// From which the mutations are drawn.
pub static SEED: AtomicU64 = AtomicU64::new(1);

/// Mutations of each program. With what is written down there are more than 120 faults.
const DRAWN: usize = 19;
/// For one fault.
const BUDGET: &str = "90s";

const fn at_least(name: &'static str, unit: &'static str, goal: Option<f64>) -> Spec {
    Spec {
        name,
        unit,
        better: "higher",
        peer_name: "",
        goal,
        goal_on: "ours",
    }
}

pub const SEARCH_ROWS: &[Spec] = &[
    at_least("correct_percent", "%", Some(50.0)),
    at_least("plausible_percent", "%", None),
    at_most("overfit_percent", "%", "", 10.0),
    at_least("syntax_config_percent", "%", Some(90.0)),
    Spec {
        name: "fix_s",
        unit: "s",
        better: "lower",
        peer_name: "",
        goal: None,
        goal_on: "ours",
    },
    at_most("search_mib", "MiB", "", 1024.0),
];

pub const GUARD_ROWS: &[Spec] = &[
    at_least("guarded_percent", "%", Some(95.0)),
    at_most("guard_ms", "ms", "", 2000.0),
];

pub const QUEUE_ROWS: &[Spec] = &[
    at_most("enqueue_ms", "ms", "", 5.0),
    at_most("agent_idle_mib", "MiB", "", 30.0),
];

pub fn guards(_: &Path) -> Result<Vec<Figure>> {
    bail!("guards are not built")
}

pub fn queue(_: &Path) -> Result<Vec<Figure>> {
    bail!("the agent's queue and process are not built")
}

/// A program with a fault in it.
struct Fault {
    program: PathBuf,
    kind: String,
    file: String,
    text: String,
    test: String,
    hidden: String,
}

#[derive(Debug, Default)]
struct Count {
    all: usize,
    plausible: usize,
    correct: usize,
    readable: usize,
    readable_all: usize,
    seconds: Vec<f64>,
    mib: f64,
}

pub fn measure(grace: &Path) -> Result<Vec<Figure>> {
    for (tool, how) in [
        ("python3", "python3"),
        ("node", "nodejs"),
        ("patch", "patch"),
    ] {
        if which(tool).is_none() {
            bail!("{tool} is missing; get it by: apt-get install {how}");
        }
    }
    let mut count = Count::default();
    for fault in faults(SEED.load(Ordering::Relaxed))? {
        one(grace, &fault, &mut count)?;
    }
    count.seconds.sort_by(f64::total_cmp);
    let median = count.seconds.get(count.seconds.len() / 2).copied();
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let figures = [
        percent(count.correct, count.all),
        percent(count.plausible, count.all),
        percent(count.plausible - count.correct, count.plausible),
        percent(count.readable, count.readable_all),
        median.unwrap_or(f64::NAN),
        count.mib,
    ];
    Ok(SEARCH_ROWS
        .iter()
        .zip(figures)
        .map(|(spec, ours)| Figure::alone(spec, ours))
        .collect())
}

fn faults(seed: u64) -> Result<Vec<Fault>> {
    let mut found = Vec::new();
    let top = root().join("tests/repair");
    let mut programs: Vec<PathBuf> = fs::read_dir(&top)
        .with_context(|| format!("cannot read {}", top.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("faults.toml").exists())
        .collect();
    programs.sort();
    for program in programs {
        let text = fs::read_to_string(program.join("faults.toml"))?;
        let list: toml::Table = text.parse()?;
        let said = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
        let (test, hidden) = (said(&list["test"]), said(&list["hidden"]));
        let base = |file: String, kind: String, text: String| Fault {
            program: program.clone(),
            kind,
            file,
            text,
            test: test.clone(),
            hidden: hidden.clone(),
        };
        for fault in list["fault"].as_array().into_iter().flatten() {
            let file = said(&fault["file"]);
            let good = fs::read_to_string(program.join("program").join(&file))?;
            let old = said(&fault["old"]);
            if !good.contains(&old) {
                bail!("{}: {file} does not hold {old:?}", program.display());
            }
            let bad = good.replacen(&old, &said(&fault["new"]), 1);
            found.push(base(file, said(&fault["kind"]), bad));
        }
        let mut drawn = Vec::new();
        for file in said_sources(&program.join("program"), Path::new("")) {
            let good = fs::read_to_string(program.join("program").join(&file))?;
            for bad in mutants(&file, &good) {
                drawn.push((file.clone(), bad));
            }
        }
        shuffle(&mut drawn, seed ^ program.as_os_str().len() as u64);
        let mut kept = 0;
        for (file, bad) in drawn {
            if kept == DRAWN {
                break;
            }
            let fault = base(file, "drawn".to_owned(), bad);
            let copy = laid(&fault)?;
            // What the visible tests do not see is no fault that anybody could mend.
            if !passes(copy.path(), &fault.test)? {
                kept += 1;
                found.push(fault);
            }
        }
    }
    Ok(found)
}

/// Source files that are no tests.
fn said_sources(top: &Path, below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top.join(below))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = below.join(entry.file_name());
        let name = path.display().to_string();
        if entry.path().is_dir() {
            found.extend(said_sources(top, &path));
        } else if !name.contains("test")
            && [".py", ".js", ".rs"].iter().any(|end| name.ends_with(end))
        {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Fisher and Yates by a multiplicative generator (Knuth's constants): the same for the same seed.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut state = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    for at in (1..list.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        list.swap(at, (state >> 33) as usize % (at + 1));
    }
}

/// A directory that is gone in the end.
struct Laid(PathBuf);

impl Laid {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

static COPIES: AtomicU64 = AtomicU64::new(0);

fn laid(fault: &Fault) -> Result<Laid> {
    let number = COPIES.fetch_add(1, Ordering::Relaxed);
    let name = format!("grace-repair-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let laid = Laid(dir);
    copy(&fault.program.join("program"), laid.path())?;
    fs::write(laid.path().join(&fault.file), &fault.text)?;
    Ok(laid)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Whether a command is content within half a minute.
fn passes(dir: &Path, command: &str) -> Result<bool> {
    let mut child = Command::new("timeout")
        .args(["-k", "1", "30", "sh", "-c", command])
        .current_dir(dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child.wait()?.success())
}

fn one(grace: &Path, fault: &Fault, count: &mut Count) -> Result<()> {
    let copy_of = laid(fault)?;
    let dir = copy_of.path();
    let begun = Instant::now();
    let mut child = Command::new(grace)
        .args(["agent", "fix", "--json", "--budget", BUDGET, "--dir"])
        .arg(dir)
        .args(["--test", &fault.test])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start grace")?;
    while child.try_wait()?.is_none() {
        count.mib = count.mib.max(resident(child.id()));
        std::thread::sleep(Duration::from_millis(200));
        if begun.elapsed() > Duration::from_secs(600) {
            end(&mut child, Duration::from_secs(5));
            bail!(
                "a search did not end: {} {}",
                fault.program.display(),
                fault.kind
            );
        }
    }
    let output = child.wait_with_output()?;
    let report: Value =
        serde_json::from_slice(&output.stdout).context("the report of grace agent fix")?;
    let fixed = report["result"] == "fixed";
    let mut correct = false;
    if fixed {
        fs::write(
            dir.join("fix.diff"),
            report["diff"].as_str().unwrap_or_default(),
        )?;
        let patched = passes(dir, "patch -p1 -s -i fix.diff")?;
        let good = patched && passes(dir, &fault.test)?;
        copy(&fault.program.join("hidden"), dir)?;
        correct = good && passes(dir, &fault.hidden)?;
        count
            .seconds
            .push(report["seconds"].as_f64().unwrap_or(f64::NAN));
    }
    count.all += 1;
    count.plausible += usize::from(fixed);
    count.correct += usize::from(correct);
    if matches!(fault.kind.as_str(), "syntax" | "config") {
        count.readable_all += 1;
        count.readable += usize::from(correct);
    }
    let verdict = match (fixed, correct) {
        (_, true) => "correct",
        (true, false) => "WRONG",
        _ => "not fixed",
    };
    let name = fault
        .program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    eprintln!(
        "{name} {} {}: {verdict}: {}",
        fault.kind, fault.file, report["cause"]
    );
    Ok(())
}

/// Of a process and all below it, in MiB. Pages that they share count more than once.
fn resident(pid: u32) -> f64 {
    let below = descendants(pid);
    let pids = std::iter::once(pid).chain(below.iter().map(|seen| seen.pid()));
    let pages: u64 = pids
        .filter_map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            text.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum();
    pages as f64 * 4096.0 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_that_is_written_down_fits_its_program_and_there_are_enough() {
        let mut count = 0;
        let top = root().join("tests/repair");
        for entry in fs::read_dir(&top).unwrap().flatten() {
            let text = fs::read_to_string(entry.path().join("faults.toml")).unwrap();
            let list: toml::Table = text.parse().unwrap();
            for fault in list["fault"].as_array().unwrap() {
                let file = entry
                    .path()
                    .join("program")
                    .join(fault["file"].as_str().unwrap());
                let good = fs::read_to_string(&file).unwrap();
                assert!(good.contains(fault["old"].as_str().unwrap()), "{fault}");
                count += 1;
            }
        }
        let programs = fs::read_dir(&top).unwrap().count();
        assert!(count + programs * DRAWN >= 120, "{count}");
        assert!(programs * DRAWN >= count, "{count}");
    }

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let drawn = |seed| {
            let mut list: Vec<u32> = (0..40).collect();
            shuffle(&mut list, seed);
            list
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
