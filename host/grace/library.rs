//! Plugins and playbooks looked at by a command itself, so that `plugin list` and `playbook
//! check` need no host that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grace_model::config::Config;
use grace_model::playbook::Playbook;
use grace_model::plugin::ActionInfo;
use grace_model::port::PluginHost;
use grace_plan::playbook::{Catalogue, Diagnostic, load, read};
use grace_wasm::{Registry, Settings};

use crate::builtin;
use crate::config::{self, Surroundings};
use crate::place::{Globals, absolute};
use crate::problem::{OrProblem, Problem};
use crate::show;

/// The configuration as far as directories and grants go; without a file, what a host has whose
/// file says nothing.
pub fn config(globals: &Globals) -> Result<Config, Problem> {
    let mut config = config_with_missing_dirs(globals)?;
    // A directory that was not asked for and is not there is nothing to look into.
    if !config.plugins.dir.is_dir() {
        config.plugins.dir = PathBuf::new();
    }
    Ok(config)
}

/// The same, with directories that are still to be made.
pub fn config_with_missing_dirs(globals: &Globals) -> Result<Config, Problem> {
    let file = globals.file();
    let around = Surroundings::here(globals.given_state()?);
    if globals.config.is_some() || file.exists() {
        return Ok(config::outline(&file, &around)?);
    }
    let mut config = config::empty(&absolute(Path::new("."))?);
    if let Some(state) = around.state {
        config.state_dir = state;
    }
    Ok(config)
}

/// Loads all plugins once, without a host.
pub fn registry(config: &Config) -> Result<Arc<Registry>, Problem> {
    if let Some(what) = builtin::missing(builtin::PLUGINS, config.plugins.builtin) {
        show::note(&format!("note: {what}"));
    }
    let mut settings = Settings::of(config, builtin::PLUGINS.to_vec());
    settings.watch = false;
    if !config.state_dir.join("VERSION").exists() {
        settings.compiled_dir = cache();
    }
    Registry::start(settings).or_problem("plugins cannot be loaded", "")
}

/// Where compiled code is kept when there is no state directory. Who may write there could run
/// code as us, so the plugin host takes it only if it is private.
fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home);
    match base.filter(|base| base.is_absolute()) {
        Some(base) => base.join("grace").join("components"),
        None => std::env::temp_dir()
            .join(format!("grace-{}", grace_os::user::effective_uid()))
            .join("components"),
    }
}

/// A playbook's text and where it is from.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// `builtin:NAME` or a path.
    pub origin: String,
    /// Its text.
    pub text: String,
}

/// A playbook after it was looked at.
#[derive(Debug)]
pub struct Checked {
    /// It.
    pub sheet: Sheet,
    /// None when it is not good.
    pub playbook: Option<Playbook>,
    /// What is wrong or odd.
    pub diagnostics: Vec<Diagnostic>,
}

/// The playbooks that a host would use: its directory's, and the built-in ones that those do
/// not replace.
pub fn sheets(config: &Config) -> Result<Vec<Sheet>, Problem> {
    let mut sheets = Vec::new();
    if config.healing.builtin {
        sheets.extend(builtin::PLAYBOOKS.iter().map(|one| Sheet {
            origin: format!("builtin:{}", one.name),
            text: one.text.to_owned(),
        }));
    }
    if config.healing.dir.is_dir() {
        let own = folder(&config.healing.dir)?;
        let ids: Vec<String> = own.iter().filter_map(id_of).collect();
        sheets.retain(|sheet| id_of(sheet).is_none_or(|id| !ids.contains(&id)));
        sheets.extend(own);
    }
    Ok(sheets)
}

/// Files and folders that were named.
pub fn named(paths: &[PathBuf]) -> Result<Vec<Sheet>, Problem> {
    let mut sheets = Vec::new();
    for path in paths {
        if path.is_dir() {
            sheets.extend(folder(path)?);
        } else {
            sheets.push(sheet(path)?);
        }
    }
    Ok(sheets)
}

fn folder(dir: &Path) -> Result<Vec<Sheet>, Problem> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .or_problem(format_args!("cannot read {}", dir.display()), "")?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "yaml" || end == "yml")
        })
        .collect();
    files.sort();
    files.iter().map(|file| sheet(file)).collect()
}

fn sheet(path: &Path) -> Result<Sheet, Problem> {
    let text = fs::read_to_string(path).or_problem(
        format_args!("cannot read {}", path.display()),
        "name a YAML file or a folder of them",
    )?;
    Ok(Sheet {
        origin: path.display().to_string(),
        text,
    })
}

fn id_of(sheet: &Sheet) -> Option<String> {
    read(&sheet.text, &sheet.origin)
        .ok()
        .map(|read| read.playbook.id.0)
}

/// Checks them all. `others` are there too, for playbooks that name another.
pub fn check(
    sheets: Vec<Sheet>,
    others: &[Sheet],
    config: &Config,
    actions: &[ActionInfo],
) -> Vec<Checked> {
    let ids: Vec<String> = sheets.iter().chain(others).filter_map(id_of).collect();
    let channels: Vec<String> = config
        .notify
        .keys()
        .cloned()
        .chain(["log".to_owned()])
        .collect();
    let catalogue = Catalogue {
        actions,
        findings: None,
        channels: Some(&channels),
        playbooks: Some(&ids),
    };
    sheets
        .into_iter()
        .map(|sheet| {
            let loaded = load(&sheet.text, &sheet.origin, &catalogue);
            Checked {
                sheet,
                playbook: loaded.playbook,
                diagnostics: loaded.diagnostics,
            }
        })
        .collect()
}

/// The actions of all live packs.
pub fn actions(config: &Config) -> Result<Vec<ActionInfo>, Problem> {
    Ok(registry(config)?.actions())
}
