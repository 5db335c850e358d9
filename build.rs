//! Puts what Grace ships inside the binary: components from `plugins/out`, playbooks, and what
//! `grace plugin new` writes. What is not there is left out, and the binary says so when asked.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut code = String::new();
    plugins(&root.join("plugins/out"), &mut code)?;
    proof(&root.join("plugins/out/fixtures/spin.wasm"), &mut code)?;
    playbooks(&root.join("playbooks"), &mut code)?;
    template(&root, &mut code)?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("builtin.rs"), code)?;
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}

/// Components with a manifest beside them, and their precompiled form if it is there.
fn plugins(out: &Path, code: &mut String) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", out.display());
    writeln!(
        code,
        "/// The plugins inside this program.\npub static PLUGINS: &[Builtin] = &["
    )?;
    for (name, wasm) in files(out, "wasm")? {
        let manifest = wasm.with_extension("toml");
        if !manifest.is_file() {
            println!(
                "cargo:warning={} has no manifest beside it and is left out",
                wasm.display()
            );
            continue;
        }
        let precompiled = out.join("precompiled").join(format!("{name}.cwasm"));
        let precompiled = if precompiled.is_file() {
            format!("Some(include_bytes!({:?}))", text(&precompiled)?)
        } else {
            "None".to_owned()
        };
        writeln!(
            code,
            "    Builtin {{ name: {name:?}, wasm: include_bytes!({:?}), manifest: include_str!({:?}), precompiled: {precompiled} }},",
            text(&wasm)?,
            text(&manifest)?
        )?;
    }
    writeln!(code, "];")?;
    Ok(())
}

/// The component that `grace prove` drops into its hosts: one that can misbehave.
fn proof(wasm: &Path, code: &mut String) -> Result<(), Box<dyn Error>> {
    let bytes = match wasm.is_file() {
        true => format!("Some(include_bytes!({:?}))", text(wasm)?),
        false => "None".to_owned(),
    };
    writeln!(
        code,
        "/// A component that misbehaves as its setting says, for `grace prove`.\n\
         pub static PROOF_COMPONENT: Option<&[u8]> = {bytes};"
    )?;
    Ok(())
}

fn playbooks(dir: &Path, code: &mut String) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", dir.display());
    writeln!(
        code,
        "/// The playbooks inside this program.\npub static PLAYBOOKS: &[BuiltinPlaybook] = &["
    )?;
    for (name, file) in files(dir, "yaml")? {
        writeln!(
            code,
            "    BuiltinPlaybook {{ name: \"{name}.yaml\", text: include_str!({:?}) }},",
            text(&file)?
        )?;
    }
    writeln!(code, "];")?;
    Ok(())
}

/// What `grace plugin new` writes: a list of world, source and destination. A file that the list
/// names and that is not there is an error, so that the list cannot rot.
fn template(root: &Path, code: &mut String) -> Result<(), Box<dyn Error>> {
    let list = root.join("plugins/template/embed.txt");
    println!("cargo:rerun-if-changed={}", list.display());
    writeln!(
        code,
        "/// The template of a new plugin.\npub static TEMPLATE: &[Piece] = &["
    )?;
    for line in fs::read_to_string(&list).unwrap_or_default().lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let [world, from, to] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("{}: not three words: {line}", list.display()).into());
        };
        let from = root.join(from);
        println!("cargo:rerun-if-changed={}", from.display());
        if !from.is_file() {
            return Err(format!("{}: {} is not there", list.display(), from.display()).into());
        }
        writeln!(
            code,
            "    Piece {{ world: {world:?}, path: {to:?}, text: include_str!({:?}) }},",
            text(&from)?
        )?;
    }
    writeln!(code, "];")?;
    Ok(())
}

/// Files of a folder with this ending, by their stem, in order.
fn files(dir: &Path, end: &str) -> Result<BTreeMap<String, PathBuf>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    if dir.is_dir() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_file() && path.extension().is_some_and(|found| found == end) {
                let stem = path.file_stem().map(Path::new).unwrap_or(Path::new(""));
                found.insert(text(stem)?.to_owned(), path);
            }
        }
    }
    Ok(found)
}

fn text(path: &Path) -> Result<&str, Box<dyn Error>> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}
