//! `cargo xtask dist`: one self-contained release binary. It is built twice: once to make the
//! precompiled form of the components, once with that form inside.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build::{Progress, cargo_build};
use crate::command::{cargo, root, succeed, target};
use crate::plugins;

/// How the binary is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As it goes out: `[profile.dist]`.
    Dist,
    /// As for the tests, which look at how it is packed.
    Dev,
}

impl Profile {
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Dist => &["--profile", "dist"],
            Self::Dev => &[],
        }
    }

    /// Where cargo puts it, and where it is afterwards.
    fn folders(self) -> (&'static str, &'static str) {
        match self {
            Self::Dist => ("dist", "dist"),
            Self::Dev => ("debug", "dist-dev"),
        }
    }
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let profile = match args {
        [] => Profile::Dist,
        [one] if one == "--dev" => Profile::Dev,
        _ => anyhow::bail!("dist takes --dev or nothing, and was given {args:?}"),
    };
    let to = pack(&mut Progress::new(), profile)?;
    println!("{} ({} MiB)", to.display(), fs::metadata(&to)?.len() >> 20);
    Ok(ExitCode::SUCCESS)
}

/// Builds the binary with everything inside and says where it is.
pub fn pack(progress: &mut Progress, profile: Profile) -> Result<PathBuf> {
    plugins::build(progress)?;
    let out = root().join("plugins/out");
    let precompiled = out.join("precompiled");
    fs::create_dir_all(&precompiled)?;
    let build = || {
        let mut command = cargo();
        command
            .args(["build", "--package", "grace", "--bin", "grace"])
            .args(profile.args());
        command
    };
    cargo_build(progress, "grace", build())?;
    let (made, packed) = profile.folders();
    let grace = target().join(made).join("grace");
    succeed(
        Command::new(&grace)
            .args(["internal", "precompile", "--from"])
            .arg(&out)
            .arg("--to")
            .arg(&precompiled)
            .stdout(std::process::Stdio::null()),
    )?;
    cargo_build(progress, "grace (with compiled components)", build())?;
    let dir = target().join(packed);
    let to = dir.join("grace");
    if to != grace {
        fs::create_dir_all(&dir)?;
        fs::copy(&grace, &to)
            .with_context(|| format!("cannot copy {} to {}", grace.display(), to.display()))?;
    }
    Ok(to)
}
