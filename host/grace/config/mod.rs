//! `grace.toml`: read, checked and resolved into the model's `Config`. What is wrong is told with
//! file, line, column, the line itself and a remedy. It must not know of running hosts.

mod confine;
mod fault;
mod file;
mod front;
mod govern;
mod literal;
mod people;
mod priority;
mod program;
mod record;
mod resolve;
mod roles;
mod runner;
mod service;
mod units;
mod words;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use grace_model::config::Config;

pub use fault::{Fault, Faults, closest};
pub use units::duration_ms;

/// The example that `grace init` writes; it is also the reference of every key.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Name of the file that is looked for.
pub const FILE_NAME: &str = "grace.toml";

/// What the surroundings say that the file does not.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where programs without a slash are looked for.
    pub path: OsString,
    /// Whether this is root, whose services run as somebody else.
    pub root: bool,
    /// `--state`, which wins over the file's `state`.
    pub state: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn here(state: Option<PathBuf>) -> Self {
        Self {
            path: std::env::var_os("PATH").unwrap_or_else(|| grace_os::spawn::DEFAULT_PATH.into()),
            root: grace_os::user::is_root(),
            state,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was read and is wrong.
    #[error("{0}")]
    Wrong(Box<Faults>),
}

impl ConfigError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            ConfigError::Unreadable { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                "`grace init` writes one; `--config FILE` names another; `grace run` needs none"
                    .to_owned()
            }
            ConfigError::Unreadable { .. } => {
                "make it a UTF-8 text file that this user may read".to_owned()
            }
            ConfigError::Wrong(_) => {
                "correct it and try again; `grace init --print` shows every key".to_owned()
            }
        }
    }
}

/// Reads and checks a file.
pub fn load(file: &Path, surroundings: &Surroundings) -> Result<Config, ConfigError> {
    let text = read(file)?;
    let base = base_of(file)?;
    parse(&text, &base, surroundings).map_err(|faults| {
        ConfigError::Wrong(Box::new(Faults {
            file: file.to_owned(),
            text,
            faults,
        }))
    })
}

/// Only where the state directory is, so that `grace status` works beside a file that is broken
/// elsewhere.
pub fn state_of(file: &Path) -> Result<PathBuf, ConfigError> {
    let text = read(file)?;
    let base = base_of(file)?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let faults = vec![Fault::from_toml(&error)];
        ConfigError::Wrong(Box::new(Faults {
            file: file.to_owned(),
            text: text.clone(),
            faults,
        }))
    })?;
    Ok(resolve::state_dir(
        &base,
        table
            .get("state")
            .and_then(toml::Value::as_str)
            .map(Path::new),
    ))
}

/// The configuration with what is wrong in its values left out: for commands that need only its
/// directories and work beside a service that cannot start here.
pub fn outline(file: &Path, surroundings: &Surroundings) -> Result<Config, ConfigError> {
    let text = read(file)?;
    let base = base_of(file)?;
    match toml::from_str::<file::File>(&text) {
        Ok(written) => Ok(resolve::resolve(written, &base, surroundings).0),
        Err(error) => {
            let faults = vec![Fault::from_toml(&error)];
            Err(ConfigError::Wrong(Box::new(Faults {
                file: file.to_owned(),
                text,
                faults,
            })))
        }
    }
}

/// What a host has whose file says nothing, for commands that need none.
pub fn empty(base: &Path) -> Config {
    resolve::resolve(file::File::default(), base, &Surroundings::here(None)).0
}

/// Checks a text whose relative paths start at `base`.
pub fn parse(text: &str, base: &Path, around: &Surroundings) -> Result<Config, Vec<Fault>> {
    let file: file::File = toml::from_str(text).map_err(|error| vec![Fault::from_toml(&error)])?;
    let (config, faults) = resolve::resolve(file, base, around);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(faults)
    }
}

fn read(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    })
}

fn base_of(file: &Path) -> Result<PathBuf, ConfigError> {
    let whole = std::path::absolute(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    Ok(whole.parent().unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
mod govern_tests;
#[cfg(test)]
mod literal_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod user_tests;
