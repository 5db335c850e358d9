//! The end-to-end tests that need neither root nor cargo, again as user 65534, from a copy of
//! the binaries that this user can read.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::part::{END_TO_END, at_once};
use super::{Run, tools};
use crate::build::{Progress, cargo_build};
use crate::command::{Scratch, cargo, root, succeed, target, which};
use crate::plugins;

/// What runs: all but the documents, and of the demo only that it heals, since its controls would
/// take minutes to show nothing that depends on the user.
const CASES: &[&str] = &[
    "cases::fleet",
    "cases::survival",
    "cases::healing",
    "cases::commands",
    "cases::cli",
    "cases::plugins",
    "cases::workshop",
    "cases::bad_input",
    "cases::load",
    "cases::peers",
    "cases::demo::the_demo_heals_four_faults",
];
/// Cargo, its registry and the toolchain are in our home, where this user cannot go.
const NEED_CARGO: &[&str] = &[
    "a_new_plugin_builds_unchanged",
    "a_new_detector_is_tested_built_and_installed",
    "a_new_action_pack_built_with_plain_cargo",
];

pub fn check(run: &Run) -> Result<()> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        eprintln!("we are an ordinary user already: the end-to-end part was this one");
        return Ok(());
    }
    if which("setpriv").is_none() {
        return run.missing(
            "as-user",
            "setpriv is missing; get it by: apt-get install util-linux",
        );
    }
    plugins::build(&mut Progress::new())?;
    succeed(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
    let mut command = cargo();
    command.args(END_TO_END).arg("--no-run");
    let built = cargo_build(&mut Progress::new(), "end-to-end", command)?;
    let Some(test) = built
        .iter()
        .find(|file| file.to_string_lossy().contains("end_to_end"))
    else {
        bail!("cargo built no end-to-end test");
    };
    let scratch = Scratch::new("as-user")?;
    let dir = scratch.path();
    fs::copy(test, dir.join("end-to-end"))?;
    fs::copy(target().join("debug/grace"), dir.join("grace"))?;
    // The checkout may lie where this user cannot go.
    let fixtures = dir.join("fixtures");
    fs::create_dir(&fixtures)?;
    let built = root().join("plugins/out/fixtures");
    for entry in fs::read_dir(&built).with_context(|| format!("cannot read {}", built.display()))? {
        let file = entry?;
        fs::copy(file.path(), fixtures.join(file.file_name()))?;
    }
    let not_run = dir.join("not-run.txt");
    fs::write(&not_run, "")?;
    fs::set_permissions(&not_run, fs::Permissions::from_mode(0o666))?;
    let mut command = Command::new("setpriv");
    run.told(
        at_once(tools::hermetic(&mut command))
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(dir.join("end-to-end"))
            .args(CASES)
            .args(NEED_CARGO.iter().flat_map(|name| ["--skip", name]))
            .current_dir("/")
            .env("GRACE_BIN", dir.join("grace"))
            .env("GRACE_FIXTURES", &fixtures)
            .env("GRACE_AS_USER", "1")
            .env("HOME", "/nonexistent"),
    )
    .env("GRACE_NOT_RUN", &not_run);
    let done = succeed(&mut command);
    append(&not_run, &run.not_run)?;
    done
}

/// What this user could not write into the file of another.
fn append(from: &Path, to: &Path) -> Result<()> {
    let mut text = fs::read_to_string(to).unwrap_or_default();
    text += &fs::read_to_string(from)?;
    Ok(fs::write(to, text)?)
}
