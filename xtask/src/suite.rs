//! `cargo xtask test`: every check, part by part. A test whose tool is missing says so in a file
//! and is listed as NOT RUN; with `--full` it fails.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::build::{Progress, cargo_build, clock};
use crate::command::{cargo, root, succeed, target, which};
use crate::plugins;
use crate::tidy;

/// What a part is called, what it does, and seconds it takes when warm, as last seen by us.
const PARTS: &[(&str, &str, u64)] = &[
    ("format", "cargo fmt --check, host and plugins", 5),
    ("tidy", "the house rules", 2),
    ("plugins", "components are built", 5),
    (
        "plugin-tests",
        "tests of the SDK and the plugins without the host",
        20,
    ),
    ("lints", "clippy with warnings denied, host and plugins", 60),
    ("unit", "unit and property tests of every host crate", 120),
    ("end-to-end", "the real binary with real processes", 240),
    (
        "as-user",
        "the same again as an ordinary user, when we are root",
        120,
    ),
    ("docs", "the documentation builds without warnings", 60),
];

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut full = false;
    let mut only: Vec<&str> = Vec::new();
    for arg in args {
        match arg.as_str() {
            "--full" => full = true,
            "--list" => return list(),
            name if PARTS.iter().any(|(part, ..)| *part == name) => only.push(name),
            other => bail!("there is no part {other:?}; `cargo xtask test --list` names them"),
        }
    }
    let not_run = target().join("not-run.txt");
    fs::create_dir_all(target())?;
    fs::write(&not_run, "")?;
    let mut times = times();
    let mut failed: Vec<(&str, String)> = Vec::new();
    let begun = Instant::now();
    let mut ran = 0;
    for (part, what, _) in PARTS {
        if !only.is_empty() && !only.contains(part) {
            continue;
        }
        eprintln!("== {part}: {what}");
        ran += 1;
        let at = Instant::now();
        match check(part, full, &not_run) {
            Ok(()) => {
                times.insert((*part).to_owned(), at.elapsed().as_secs());
                eprintln!("== {part}: passed in {}", clock(at.elapsed()));
            }
            Err(error) => {
                eprintln!("== {part}: FAILED: {error:#}");
                failed.push((part, format!("{error:#}")));
            }
        }
    }
    let text: Vec<String> = times
        .iter()
        .map(|(part, seconds)| format!("{part} {seconds}\n"))
        .collect();
    fs::write(times_file(), text.concat())?;

    let mut missing: Vec<String> = fs::read_to_string(&not_run)?
        .lines()
        .map(str::to_owned)
        .collect();
    missing.sort();
    missing.dedup();
    for line in &missing {
        println!("NOT RUN: {line}");
    }
    if full && !missing.is_empty() {
        failed.push(("full", format!("{} tests did not run", missing.len())));
    }
    println!("{} parts in {}", ran, clock(begun.elapsed()));
    for (part, error) in &failed {
        println!(
            "FAILED: {part}: {}",
            error.lines().next().unwrap_or_default()
        );
    }
    println!(
        "{} passed, {} failed",
        ran - failed.iter().filter(|(part, _)| *part != "full").count(),
        failed.len()
    );
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn check(part: &str, full: bool, not_run: &std::path::Path) -> Result<()> {
    let plugins_dir = root().join("plugins");
    let in_plugins = |args: &[&str]| {
        let mut command = cargo();
        command
            .current_dir(&plugins_dir)
            .env("CARGO_TARGET_DIR", plugins_dir.join("target"))
            .args(args);
        succeed(&mut command)
    };
    match part {
        "format" => {
            succeed(cargo().args(["fmt", "--all", "--check"]))?;
            in_plugins(&["fmt", "--all", "--check"])
        }
        "tidy" => tidy::check(),
        "plugins" => plugins::build(&mut Progress::new()),
        "plugin-tests" => in_plugins(&["test", "--quiet", "--workspace"]),
        "lints" => {
            succeed(cargo().args([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))?;
            in_plugins(&["clippy", "--quiet", "--workspace", "--", "-D", "warnings"])
        }
        "unit" => {
            // The end-to-end tests are the root package's; they are a part of their own.
            succeed(
                cargo()
                    .args(["test", "--quiet", "--workspace", "--exclude", "grace"])
                    .env("GRACE_NOT_RUN", not_run)
                    .envs(full_env(full)),
            )?;
            succeed(
                cargo()
                    .args(["test", "--quiet", "--package", "grace", "--bins"])
                    .env("GRACE_NOT_RUN", not_run)
                    .envs(full_env(full)),
            )
        }
        "end-to-end" => {
            plugins::build(&mut Progress::new())?;
            let tools = cargo_component()?;
            succeed(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
            succeed(
                cargo()
                    .args(["test", "--package", "grace", "--test", "end-to-end"])
                    .env("PATH", tools)
                    .env("GRACE_NOT_RUN", not_run)
                    .envs(full_env(full)),
            )
        }
        "as-user" => as_user(),
        "docs" => succeed(
            cargo()
                .args([
                    "doc",
                    "--quiet",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ])
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
        other => bail!("no check for {other}"),
    }
}

fn full_env(full: bool) -> Vec<(&'static str, &'static str)> {
    if full {
        vec![("GRACE_FULL", "1")]
    } else {
        Vec::new()
    }
}

fn list() -> Result<ExitCode> {
    let times = times();
    for (part, what, usual) in PARTS {
        let (seconds, mark) = match times.get(*part) {
            Some(seconds) => (*seconds, "last run here"),
            None => (*usual, "usual, warm"),
        };
        println!(
            "{part:<14} {:>6} ({mark})  {what}",
            clock(std::time::Duration::from_secs(seconds))
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn times_file() -> PathBuf {
    target().join("xtask-times.txt")
}

fn times() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(times_file()).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (part, seconds) = line.split_once(' ')?;
            Some((part.to_owned(), seconds.parse().ok()?))
        })
        .collect()
}

/// The version that the end-to-end test of `cargo component` uses.
const CARGO_COMPONENT: &str = "0.21.1";

/// A PATH with cargo-component on it, which is installed below the target directory when it is
/// missing. A test that needs it never skips.
fn cargo_component() -> Result<OsString> {
    plugins::add_target(&mut Progress::new(), "wasm32-wasip1")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    if which("cargo-component").is_some() {
        return Ok(path);
    }
    let tools = target().join("tools");
    if !tools.join("bin/cargo-component").is_file() {
        eprintln!(
            "cargo-component {CARGO_COMPONENT} is missing and is installed below {}; ten minutes or more",
            tools.display()
        );
        succeed(
            cargo()
                .args([
                    "install",
                    "cargo-component",
                    "--version",
                    CARGO_COMPONENT,
                    "--locked",
                    "--root",
                ])
                .arg(&tools),
        )?;
    }
    let all = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all)?)
}

/// Runs the end-to-end tests that need neither root nor cargo again as user 65534, from a copy
/// of the binaries that this user can read.
fn as_user() -> Result<()> {
    let me = std::fs::metadata("/proc/self")?;
    if std::os::unix::fs::MetadataExt::uid(&me) != 0 {
        eprintln!("we are an ordinary user already: the end-to-end part was this one");
        return Ok(());
    }
    if which("setpriv").is_none() {
        bail!("setpriv is missing; get it by: apt-get install util-linux");
    }
    plugins::build(&mut Progress::new())?;
    succeed(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
    let mut command = cargo();
    command.args([
        "test",
        "--package",
        "grace",
        "--test",
        "end-to-end",
        "--no-run",
    ]);
    let built = cargo_build(&mut Progress::new(), "end-to-end", command)?;
    let Some(test) = built
        .iter()
        .find(|file| file.to_string_lossy().contains("end_to_end"))
    else {
        bail!("cargo built no end-to-end test");
    };
    let dir = std::env::temp_dir().join(format!("grace-as-user-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    fs::copy(test, dir.join("end-to-end"))?;
    fs::copy(target().join("debug/grace"), dir.join("grace"))?;
    let done = succeed(
        std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(dir.join("end-to-end"))
            .args(["cases::fleet", "cases::survival", "cases::healing"])
            .current_dir("/")
            .env("GRACE_BIN", dir.join("grace"))
            .env("GRACE_AS_USER", "1")
            .env("HOME", "/nonexistent"),
    );
    fs::remove_dir_all(&dir)?;
    done
}
