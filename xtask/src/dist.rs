//! `cargo xtask dist`: one self-contained release binary. It is built twice: once to make the
//! precompiled form of the components, once with that form inside.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build::{Progress, cargo_build};
use crate::command::{cargo, root, succeed, target};
use crate::plugins;

pub fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(other) = args.first() {
        anyhow::bail!("dist takes no argument, and was given {other:?}");
    }
    let mut progress = Progress::new();
    plugins::build(&mut progress)?;
    let out = root().join("plugins/out");
    let precompiled = out.join("precompiled");
    fs::create_dir_all(&precompiled)?;
    let release = || {
        let mut command = cargo();
        command.args(["build", "--release", "--package", "grace", "--bin", "grace"]);
        command
    };
    cargo_build(&mut progress, "grace (release)", release())?;
    let grace = target().join("release").join("grace");
    succeed(
        Command::new(&grace)
            .args(["internal", "precompile", "--from"])
            .arg(&out)
            .arg("--to")
            .arg(&precompiled),
    )?;
    cargo_build(&mut progress, "grace (release, with components)", release())?;
    let dist = target().join("dist");
    fs::create_dir_all(&dist)?;
    let to = dist.join("grace");
    fs::copy(&grace, &to)
        .with_context(|| format!("cannot copy {} to {}", grace.display(), to.display()))?;
    // Names of functions stay, for backtraces; lines are in the unstripped one.
    succeed(Command::new("strip").arg("--strip-debug").arg(&to))
        .context("strip comes with the linker, in binutils")?;
    println!("{} ({} MiB)", to.display(), fs::metadata(&to)?.len() >> 20);
    Ok(ExitCode::SUCCESS)
}
