//! What the end-to-end tests find on the machine: an environment that is the same for everybody,
//! and the one tool that they may not go without.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::build::Progress;
use crate::command::{cargo, output, succeed, target, which};
use crate::plugins;

/// The version that the end-to-end test of `cargo component` uses.
const CARGO_COMPONENT: &str = "0.21.1";

/// Whether tests may see this variable: what finds programs and what cargo needs to build. What
/// else a shell exports would make a test mean something different on each machine.
fn passes(name: &OsStr) -> bool {
    const NAMES: &[&str] = &["PATH", "HOME", "TMPDIR", "CC", "AR", "RUSTC", "RUSTFLAGS"];
    const BEGINS: &[&str] = &["CARGO", "RUSTUP_", "RUSTC_", "SSL_CERT_"];
    let Some(name) = name.to_str() else {
        return false;
    };
    NAMES.contains(&name)
        || BEGINS.iter().any(|begin| name.starts_with(begin))
        || name.to_ascii_lowercase().ends_with("_proxy")
}

/// Takes everything out of a command's environment that tests may not see.
pub fn hermetic(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| !passes(name)) {
        command.env_remove(name);
    }
    command
}

/// A PATH with the right cargo-component on it, which is installed below the target directory
/// when it is missing. A test that needs it never skips.
pub fn with_cargo_component() -> Result<OsString> {
    plugins::add_target(&mut Progress::new(), "wasm32-wasip1")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    if which("cargo-component").is_some_and(|program| is_pinned(&program)) {
        return Ok(path);
    }
    let tools = target().join("tools");
    let program = tools.join("bin/cargo-component");
    if !is_pinned(&program) {
        eprintln!(
            "cargo-component {CARGO_COMPONENT} is missing and is installed below {}; ten minutes or more",
            tools.display()
        );
        succeed(
            cargo()
                .args(["install", "cargo-component", "--version", CARGO_COMPONENT])
                .args(["--locked", "--force", "--root"])
                .arg(&tools),
        )?;
        if !is_pinned(&program) {
            bail!(
                "{} is no cargo-component {CARGO_COMPONENT}, also after installing it",
                program.display()
            );
        }
    }
    let all = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all)?)
}

fn is_pinned(program: &Path) -> bool {
    program.is_file()
        && output(Command::new(program).arg("--version"))
            .is_ok_and(|text| text.split_whitespace().any(|word| word == CARGO_COMPONENT))
}
