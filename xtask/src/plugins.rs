//! Builds the components that Grace ships, and the hostile ones its tests need, into
//! `plugins/out`. A file there changes only when its bytes do, so that the host is not built
//! again for nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::build::{Progress, cargo_build};
use crate::command::{cargo_of_plugins, output, root, succeed, target};

pub const WASM_TARGET: &str = "wasm32-wasip2";

/// Folders of what goes into the binary.
const SHIPPED: &[&str] = &["detectors", "actions"];

/// Adds a rustup target when it is missing.
pub fn add_target(progress: &mut Progress, target: &str) -> Result<()> {
    let mut list = std::process::Command::new("rustup");
    list.args(["target", "list", "--installed"])
        .current_dir(root());
    let installed = output(&mut list)
        .context("rustup is needed to add the wasm target; see https://rustup.rs")?;
    if installed.lines().any(|line| line.trim() == target) {
        return Ok(());
    }
    progress.say(&format!("adding the target {target}"));
    succeed(
        std::process::Command::new("rustup")
            .args(["target", "add", target])
            .current_dir(root()),
    )
}

/// Builds and stages every plugin.
pub fn build(progress: &mut Progress) -> Result<()> {
    add_target(progress, WASM_TARGET)?;
    let dir = root().join("plugins");
    let mut command = cargo_of_plugins();
    command.args(["build", "--release", "--workspace", "--target", WASM_TARGET]);
    cargo_build(progress, "plugins", command)?;
    let made = target().join(WASM_TARGET).join("release");
    let out = dir.join("out");
    let mut builtin = Vec::new();
    for group in SHIPPED {
        builtin.extend(folders(&dir.join(group))?);
    }
    let fixtures = folders(&dir.join("fixtures"))?;
    if stage(&builtin, &made, &out)? == 0 {
        bail!("no plugin was found below {}", dir.display());
    }
    pure(&out)?;
    stage(&fixtures, &made, &out.join("fixtures"))?;
    Ok(())
}

/// What Grace ships needs nothing of WASI: the SDK builds it so.
fn pure(out: &Path) -> Result<()> {
    for file in fs::read_dir(out)? {
        let file = file?.path();
        if file.extension().is_some_and(|end| end == "wasm")
            && fs::read(&file)?.windows(5).any(|part| part == b"wasi:")
        {
            bail!(
                "{} imports WASI; build it with `#![no_std]` on the SDK",
                file.display()
            );
        }
    }
    Ok(())
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Copies every plugin to `out`: a folder with `plugin.toml` is one plugin of its name, and each
/// `manifests/NAME.toml` makes one of the same component.
fn stage(from: &[PathBuf], made: &Path, out: &Path) -> Result<usize> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut names = Vec::new();
    for folder in from {
        let manifests = manifests(folder)?;
        if manifests.is_empty() {
            continue;
        }
        let cargo_toml = fs::read_to_string(folder.join("Cargo.toml"))?;
        let package = cargo_toml
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .with_context(|| format!("{}: no package name", folder.join("Cargo.toml").display()))?;
        let wasm = made.join(format!("{}.wasm", package.replace('-', "_")));
        let bytes = fs::read(&wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
        for (name, manifest) in manifests {
            if put(&bytes, &out.join(format!("{name}.wasm")))? {
                remove(&precompiled(out, &name))?;
            }
            put(&fs::read(&manifest)?, &out.join(format!("{name}.toml")))?;
            names.push(name);
        }
    }
    // A plugin that was removed from the source must not stay in the binary.
    for file in fs::read_dir(out)? {
        let file = file?.path();
        let stem = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        if file.is_file() && !names.contains(&stem) {
            remove(&file)?;
            remove(&precompiled(out, &stem))?;
        }
    }
    Ok(names.len())
}

fn manifests(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let own = folder.join("plugin.toml");
    if own.is_file() {
        let name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        return Ok(vec![(name.unwrap_or_default(), own)]);
    }
    let mut found = Vec::new();
    if folder.join("manifests").is_dir() {
        for file in fs::read_dir(folder.join("manifests"))? {
            let file = file?.path();
            if file.extension().is_some_and(|end| end == "toml") {
                let name = file
                    .file_stem()
                    .map(|name| name.to_string_lossy().into_owned());
                found.push((name.unwrap_or_default(), file));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where `cargo xtask dist` leaves the compiled form of a plugin. The host does not run one of
/// another version; one is only not to be carried for nothing.
fn precompiled(out: &Path, name: &str) -> PathBuf {
    out.join("precompiled").join(format!("{name}.cwasm"))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Whether there was anything to write.
fn put(bytes: &[u8], to: &Path) -> Result<bool> {
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(true)
}
