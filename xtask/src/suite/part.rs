//! The parts of `cargo xtask test` and the commands that each of them is.

use std::process::Command;

use anyhow::{Result, bail};

use super::{Run, as_user, tools};
use crate::build::Progress;
use crate::command::{cargo, cargo_of_plugins, cores, succeed, which};
use crate::{dist, plugins, tidy};

/// A part of the checks.
pub struct Part {
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Seconds it takes when warm, as last seen by us.
    pub usual: u64,
}

const fn part(name: &'static str, what: &'static str, usual: u64) -> Part {
    Part { name, what, usual }
}

/// In the order in which they run.
pub const PARTS: &[Part] = &[
    part("format", "cargo fmt --check, host and plugins", 5),
    part("tidy", "the house rules, and what deny.toml allows", 2),
    part("plugins", "components are built", 5),
    part(
        "plugin-tests",
        "tests of the SDK and the plugins without the host",
        20,
    ),
    part("lints", "clippy with warnings denied, host and plugins", 60),
    part("unit", "unit and property tests of every host crate", 120),
    part("end-to-end", "the real binary with real processes", 240),
    part(
        "as-user",
        "the same again as an ordinary user, when we are root",
        60,
    ),
    part("docs", "the documentation builds without warnings", 60),
    part(
        "dist",
        "the packed binary where neither checkout nor toolchain is",
        120,
    ),
];

const CLIPPY: &[&str] = &["--", "-D", "warnings"];
pub const END_TO_END: &[&str] = &["test", "--package", "grace", "--test", "end-to-end"];

/// Does one part; an error says what failed.
pub fn check(part: &str, run: &Run) -> Result<()> {
    match part {
        "format" => {
            succeed(cargo().args(["fmt", "--all", "--check"]))?;
            succeed(cargo_of_plugins().args(["fmt", "--all", "--check"]))
        }
        "tidy" => tidy::check(),
        "plugins" => plugins::build(&mut Progress::new()),
        "plugin-tests" => {
            succeed(run.told(cargo_of_plugins().args(["test", "--quiet", "--workspace"])))
        }
        "lints" => {
            let all = ["clippy", "--quiet", "--workspace", "--all-targets"];
            succeed(cargo().args(all).args(CLIPPY))?;
            succeed(
                cargo_of_plugins()
                    .args(["clippy", "--quiet", "--workspace"])
                    .args(CLIPPY),
            )
        }
        "unit" => {
            // The end-to-end tests are the root package's; they are a part of their own.
            let others = ["test", "--quiet", "--workspace", "--exclude", "grace"];
            succeed(run.told(cargo().args(others)))?;
            succeed(run.told(cargo().args(["test", "--quiet", "--package", "grace", "--bins"])))
        }
        "end-to-end" => {
            plugins::build(&mut Progress::new())?;
            let path = tools::with_cargo_component()?;
            succeed(cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
            let mut command = cargo();
            tools::hermetic(command.args(END_TO_END)).env("PATH", path);
            succeed(run.told(at_once(&mut command)))
        }
        "as-user" => as_user::check(run),
        "docs" => succeed(
            cargo()
                .args(["doc", "--quiet", "--workspace", "--no-deps"])
                .arg("--document-private-items")
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
        "dist" => packed(run),
        other => bail!("no check for {other}"),
    }
}

/// End-to-end tests wait for processes most of the time: two on each core at once.
pub fn at_once(command: &mut Command) -> &mut Command {
    command.env("RUST_TEST_THREADS", (2 * cores()).to_string())
}

/// The cases of the packed binary, which is the development profile's: what is in it and how it
/// is packed does not depend on the profile, and another would build everything again.
fn packed(run: &Run) -> Result<()> {
    if which("unshare").is_none() {
        return run.missing(
            "dist",
            "unshare is missing; get it by: apt-get install util-linux",
        );
    }
    let grace = dist::pack(&mut Progress::new(), dist::Profile::Dev)?;
    let mut command: Command = cargo();
    tools::hermetic(command.args(END_TO_END))
        .args(["--", "--ignored", "cases::dist"])
        .env("GRACE_BIN", grace);
    succeed(run.told(&mut command))
}
