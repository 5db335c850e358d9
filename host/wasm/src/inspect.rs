//! What `grace plugin inspect` and `grace plugin check` say of a file, without a host. Grants
//! nothing and keeps nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use grace_model::manifest::{Limits, World};
use grace_model::plugin::ActionInfo;
use serde::Serialize;

use crate::engine::Machine;
use crate::files::read_files;
use crate::imports;
use crate::load::{self, LoadError, Looked, Site, Source};
use crate::manifest::check_manifest;
use crate::plugin::Plugin;

/// What is in a plugin's two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// As its file is named.
    pub name: String,
    /// The component.
    pub file: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// Their BLAKE3, in hex.
    pub hash: String,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// From the manifest; none when the manifest cannot be used.
    pub world: Option<World>,
    /// From the manifest.
    pub summary: String,
    /// From the manifest: what it asks.
    pub wants: Vec<String>,
    /// What its imports need.
    pub needs: Vec<String>,
    /// What is enforced.
    pub limits: Option<Limits>,
    /// Its actions; filled by [`check`], which calls `describe`.
    pub actions: Vec<ActionInfo>,
    /// Why it would be refused, as far as it can be told without compiling it.
    pub problem: Option<String>,
}

/// Reads a plugin's two files. `path` is the component; the manifest is beside it.
///
/// # Errors
/// When the component cannot be read as one. What is wrong with the manifest is in
/// [`Inspection::problem`].
pub fn inspect(path: &Path) -> Result<Inspection, LoadError> {
    let manifest_file = path.with_extension("toml");
    let (wasm, manifest, problem) = match read_files(path, &manifest_file) {
        Ok((wasm, manifest)) => (wasm, Some(manifest), None),
        Err(error) if error.file == manifest_file => {
            let wasm = std::fs::read(path).map_err(|io| {
                LoadError::refused(path, format!("it cannot be read: {io}"), "correct the path")
            })?;
            (wasm, None, Some(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    let names =
        imports::read(&wasm).map_err(|(cause, remedy)| LoadError::refused(path, cause, remedy))?;
    let mut inspection = Inspection {
        name: name_of(path),
        file: path.to_owned(),
        size: wasm.len() as u64,
        hash: blake3::hash(&wasm).to_hex().to_string(),
        imports: names.imports,
        exports: names.exports,
        world: None,
        summary: String::new(),
        wants: Vec::new(),
        needs: Vec::new(),
        limits: None,
        actions: Vec::new(),
        problem,
    };
    let Some(manifest) = manifest else {
        return Ok(inspection);
    };
    match check_manifest(&manifest_file, &manifest) {
        Ok(checked) => {
            inspection.world = Some(checked.manifest.world);
            inspection.summary = checked.manifest.summary;
            inspection.wants = checked.manifest.wants;
            inspection.limits = Some(checked.limits);
        }
        Err(error) => inspection.problem = Some(error.to_string()),
    }
    match source_of(path, &wasm, &manifest, load::look) {
        Ok(Looked { needs, .. }) => {
            inspection.needs = needs.iter().map(ToString::to_string).collect()
        }
        Err(error) => {
            inspection.problem.get_or_insert(error.to_string());
        }
    }
    Ok(inspection)
}

/// All that loading checks, as if everything that is asked were granted, with the trial call.
///
/// # Errors
/// File, cause and remedy.
pub fn check(path: &Path) -> Result<Inspection, LoadError> {
    let plugin = load_freely(path)?;
    let mut inspection = inspect(path)?;
    inspection.actions = plugin.actions;
    Ok(inspection)
}

/// Loads a plugin for trying it out: it holds what it asks, but no file and no address.
pub fn load_freely(path: &Path) -> Result<Plugin, LoadError> {
    load_with(path, &[])
}

/// As [`load_freely`], with settings that override the manifest's.
pub fn load_with(path: &Path, config: &[(String, String)]) -> Result<Plugin, LoadError> {
    use crate::Capability as C;
    let manifest_file = path.with_extension("toml");
    let (wasm, manifest) = read_files(path, &manifest_file)?;
    let machine =
        Arc::new(Machine::new().map_err(|error| {
            LoadError::refused(path, error.to_string(), "try on another machine")
        })?);
    let overrides = config.iter().cloned().collect();
    source_of(path, &wasm, &manifest, |source| {
        let looked = load::look(source)?;
        let granted = looked
            .checked
            .wants
            .iter()
            .filter(|want| !matches!(want, C::FsRead(_) | C::FsWrite(_) | C::Net(..)))
            .cloned()
            .collect();
        let site = Site {
            machine: &machine,
            cache: None,
        };
        load::build(source, &site, looked, granted, Some(&overrides))
    })
}

fn source_of<T>(
    path: &Path,
    wasm: &[u8],
    manifest: &str,
    then: impl FnOnce(&Source<'_>) -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    then(&Source {
        name: &name_of(path),
        origin: path.display().to_string(),
        shipped: false,
        wasm_file: path.to_owned(),
        manifest_file: path.with_extension("toml"),
        wasm,
        manifest,
        hash: blake3::hash(wasm).to_hex().to_string(),
        precompiled: None,
    })
}

fn name_of(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}
