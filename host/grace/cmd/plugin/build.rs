//! `grace plugin build` and `test`: cargo makes the component, the real plugin host tries it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use grace_model::manifest::World;
use grace_wasm::CaseReport;
use serde_json::{Value, json};

use super::check::refused;
use crate::library;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show;

const TARGET: &str = "wasm32-wasip2";

/// Build the plugin of a folder
#[derive(Debug, Args)]
pub struct Build {
    /// The plugin's folder
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Put the result into the host's plugin directory, where it is live at once
    #[arg(long)]
    install: bool,
}

impl Build {
    /// Builds it into `dist/`, or to where a host finds it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let to = if self.install {
            let dir = library::config_with_missing_dirs(globals)?.plugins.dir;
            if dir.as_os_str().is_empty() {
                return Err(Problem::new(
                    "this host has no plugin directory",
                    "set `dir` under [plugins]",
                ));
            }
            dir
        } else {
            self.dir.join("dist")
        };
        let built = build(&self.dir, &to)?;
        if globals.json {
            show::document(&json!({ "component": built }))?;
        } else {
            show::line(&built.display().to_string());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Build it, and run its cases in the sandbox of a real host
#[derive(Debug, Args)]
pub struct Test {
    /// The plugin's folder
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

impl Test {
    /// Loads it as a host does; a detector must pass its cases, a pack its own tests.
    pub fn run(self, globals: &Globals) -> Outcome {
        let wasm = build(&self.dir, &self.dir.join("dist"))?;
        let inspection = grace_wasm::check(&wasm).map_err(refused)?;
        if let Some(problem) = inspection.problem {
            return Err(Problem::no(problem, ""));
        }
        if inspection.world == Some(World::Action) {
            return pack(globals, &self.dir, inspection.actions.len());
        }
        let reports = grace_wasm::run_cases(&wasm, &self.dir.join("cases")).map_err(refused)?;
        tell(globals, &reports)
    }
}

fn tell(globals: &Globals, reports: &[CaseReport]) -> Outcome {
    let good = reports.iter().all(|report| report.problem.is_none());
    if globals.json {
        show::document(&json!({ "good": good, "cases": reports }))?;
        return Ok(ExitCode::from(u8::from(!good)));
    }
    for report in reports {
        match &report.problem {
            None => show::line(&format!(
                "{} {} (fuel {})",
                show::paint(show::GOOD, "good"),
                report.file.display(),
                report.fuel
            )),
            Some(problem) => {
                show::line(&format!(
                    "{} {}: {problem}",
                    show::paint(show::BAD, "bad"),
                    report.file.display()
                ));
            }
        }
    }
    Ok(ExitCode::from(u8::from(!good)))
}

/// What a pack does needs a fleet; its own tests bring a made-up one.
fn pack(globals: &Globals, dir: &Path, actions: usize) -> Outcome {
    let mut command = Command::new("cargo");
    command.arg("test").current_dir(dir).stdin(Stdio::null());
    if globals.json {
        command.stdout(Stdio::null());
    }
    let status = command
        .status()
        .or_problem("cannot start cargo", "install Rust: https://rustup.rs")?;
    if globals.json {
        show::document(&json!({ "good": status.success(), "actions": actions }))?;
    } else if status.success() {
        show::line(&format!(
            "{} loads, {actions} actions, its tests pass",
            show::paint(show::GOOD, "good")
        ));
    }
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// Builds the component of `dir` and puts it and its manifest into `to`.
fn build(dir: &Path, to: &Path) -> Result<PathBuf, Problem> {
    let manifest = dir.join("plugin.toml");
    if !manifest.is_file() {
        return Err(Problem::new(
            format!("{} is no plugin: there is no plugin.toml", dir.display()),
            "`grace plugin new NAME` makes one",
        ));
    }
    let (name, wasm) = cargo_build(dir)?;
    fs::create_dir_all(to).or_problem(format_args!("cannot make {}", to.display()), "")?;
    let component = to.join(format!("{name}.wasm"));
    // The manifest first: a component without one is refused, and a host may look at any moment.
    put(&manifest, &to.join(format!("{name}.toml")))?;
    put(&wasm, &component)?;
    Ok(component)
}

fn put(from: &Path, to: &Path) -> Result<(), Problem> {
    let bytes = fs::read(from).or_problem(format_args!("cannot read {}", from.display()), "")?;
    grace_os::file::write_atomic(to, &bytes, 0o644)?;
    Ok(())
}

/// The package's name and its component.
fn cargo_build(dir: &Path) -> Result<(String, PathBuf), Problem> {
    let mut child = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .or_problem("cannot start cargo", "install Rust: https://rustup.rs")?;
    let mut found = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            found = component_of(&message).or(found);
        }
    }
    let status = child.wait().or_problem("cargo", "")?;
    if !status.success() {
        return Err(Problem::no(
            format!(
                "cargo could not build {}; its messages are above",
                dir.display()
            ),
            format!("if the target is missing: rustup target add {TARGET}"),
        ));
    }
    found.ok_or_else(|| {
        Problem::no(
            format!("{} builds no component", dir.display()),
            "its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]",
        )
    })
}

/// The last component that cargo reports is the package's own: dependencies come before.
fn component_of(message: &Value) -> Option<(String, PathBuf)> {
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let files = message.get("filenames")?.as_array()?;
    let wasm = files
        .iter()
        .filter_map(Value::as_str)
        .find(|file| file.ends_with(".wasm"))?;
    let id = message.get("package_id")?.as_str()?;
    // `path+file:///x/my-plugin#0.1.0`, or `...#my-plugin@0.1.0` where the folder's name differs.
    let (place, rest) = id.rsplit_once('#')?;
    let name = match rest.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next()?,
    };
    Some((name.to_owned(), PathBuf::from(wasm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_found_in_cargos_messages() {
        let message = |id: &str, file: &str| json!({ "reason": "compiler-artifact", "package_id": id, "filenames": [file] });
        let found = component_of(&message(
            "path+file:///x/my-plugin#0.1.0",
            "/t/my_plugin.wasm",
        ));
        assert_eq!(
            found,
            Some(("my-plugin".into(), "/t/my_plugin.wasm".into()))
        );
        let found = component_of(&message(
            "path+file:///x/folder#other@0.1.0",
            "/t/other.wasm",
        ));
        assert_eq!(found.unwrap().0, "other");
        assert_eq!(
            component_of(&message("path+file:///x/a#0.1.0", "/t/liba.rlib")),
            None
        );
        assert_eq!(component_of(&json!({ "reason": "build-finished" })), None);
    }

    #[test]
    fn a_folder_without_a_manifest_is_no_plugin() {
        let dir = tempfile::tempdir().unwrap();
        let problem = build(dir.path(), dir.path()).unwrap_err();
        assert!(problem.remedy().contains("plugin new"), "{problem}");
    }
}
