//! Declared configuration files: what is on the disk, whether it parses, the last good copy, and
//! putting that back. Only declared files can be named. Files in an instance's data directory
//! belong to an untrusted process: links there are not followed.

mod artifacts;
mod baseline;
mod parse;
mod sample;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use grace_ledger::{Ledger, Queries};
use grace_model::config::{Config, ConfigFormat, Service};
use grace_model::id::InstanceId;
use grace_model::layout::Layout;
use grace_model::plugin::PluginError;
use grace_model::port::ConfigFileView;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::reach::blobs::{Blobs, hash_of};

pub use baseline::unguarded;
pub use write::Cause;

/// Longest configuration file that is read.
const SIZE_MAX: u64 = 1 << 20;
/// Largest artifact: it is read whole, a few at a time.
const ARTIFACT_MAX: u64 = 64 << 20;

/// A declared file of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// `{data}` filled in.
    pub path: PathBuf,
    /// What it must parse as.
    pub format: ConfigFormat,
    /// The directory that its instance can write to, when the file lies there.
    inside: Option<PathBuf>,
}

impl Declared {
    /// Whether it must have the bytes of its snapshot, and nobody but a person makes one.
    fn is_artifact(&self) -> bool {
        self.format == ConfigFormat::Artifact
    }

    /// Longest that is read, in bytes.
    fn size_max(&self) -> u64 {
        if self.is_artifact() {
            ARTIFACT_MAX
        } else {
            SIZE_MAX
        }
    }
}

/// What is known of the last good copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// BLAKE3 of the bytes, hex.
    pub hash: String,
    /// Of the file when it was good.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was marked, by the wall.
    pub at: u64,
}

/// The declared files of all services.
pub struct Files {
    services: Vec<Service>,
    layout: Layout,
    blobs: Blobs,
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    sampler: Mutex<sample::Sampler>,
    greeted: Mutex<baseline::Greeted>,
    marks: Mutex<HashMap<PathBuf, Option<Good>>>,
    /// One writer of configuration at a time.
    writing: Mutex<()>,
}

impl Files {
    /// The files that `config` declares.
    ///
    /// # Errors
    /// When the directory of blobs cannot be made.
    pub fn new(
        config: &Config,
        layout: &Layout,
        ledger: Arc<Ledger>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        Ok(Self {
            services: config.services.clone(),
            layout: layout.clone(),
            blobs: Blobs::open(layout.blobs())?,
            ledger,
            clock,
            sampler: Mutex::new(sample::Sampler::default()),
            greeted: Mutex::new(baseline::Greeted::default()),
            marks: Mutex::new(HashMap::new()),
            writing: Mutex::new(()),
        })
    }

    /// The declared files of an instance; none for an unknown service.
    #[must_use]
    pub fn declared(&self, id: &InstanceId) -> Vec<Declared> {
        declared(&self.services, &self.layout, id)
    }

    /// The declared files as they are now.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn views(&self, id: &InstanceId) -> Result<Vec<ConfigFileView>, PluginError> {
        self.declared(id)
            .iter()
            .map(|file| self.view(file))
            .collect()
    }

    fn view(&self, file: &Declared) -> Result<ConfigFileView, PluginError> {
        let good_hash = self.good(file)?.map_or_else(String::new, |good| good.hash);
        let (hash, mut problem) = look(file);
        if file.is_artifact() && problem.is_none() && hash != good_hash {
            problem = Some(artifacts::what_is_wrong(&good_hash).to_owned());
        }
        Ok(ConfigFileView {
            path: file.path.display().to_string(),
            hash,
            good_hash,
            problem,
        })
    }

    /// The bytes on the disk.
    ///
    /// # Errors
    /// What the plugin will see.
    pub fn read(&self, id: &InstanceId, path: &str) -> Result<Vec<u8>, PluginError> {
        let file = self.find(id, path)?;
        read_file(&file)
            .map(|(bytes, _)| bytes)
            .map_err(|e| broken(&file.path, &e))
    }

    fn find(&self, id: &InstanceId, path: &str) -> Result<Declared, PluginError> {
        let declared = self.declared(id);
        let known: Vec<String> = declared
            .iter()
            .map(|f| f.path.display().to_string())
            .collect();
        declared
            .into_iter()
            .find(|file| file.path == Path::new(path))
            .ok_or_else(|| {
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                PluginError::NotApplicable(format!(
                    "{path} is not declared under [[service.config]] or [[service.artifact]] for {id} (declared: {known})"
                ))
            })
    }

    /// The mark of the last good copy. This process alone writes marks, so one that was read
    /// or written once need not be read again.
    fn good(&self, file: &Declared) -> Result<Option<Good>, PluginError> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(good) = marks.get(&file.path) {
            return Ok(good.clone());
        }
        let stored = self
            .ledger
            .get(&good_key(file))
            .map_err(|e| unavailable(&e))?;
        let good: Option<Good> = stored.and_then(|json| serde_json::from_value(json).ok());
        marks.insert(file.path.clone(), good.clone());
        Ok(good)
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn declared(services: &[Service], layout: &Layout, id: &InstanceId) -> Vec<Declared> {
    let service = id
        .split()
        .and_then(|(name, _)| services.iter().find(|service| service.name == name));
    if service.is_none() {
        // A service by its name: what its instances share.
        let shared = |file: &&grace_model::config::ConfigFile| !file.path.contains("{data}");
        let whole = services.iter().find(|it| it.name.as_str() == id.as_str());
        return whole.map_or_else(Vec::new, |service| {
            let files = service.config.iter().filter(shared);
            files
                .map(|file| Declared {
                    path: PathBuf::from(&file.path),
                    format: file.format,
                    inside: None,
                })
                .collect()
        });
    }
    let data = layout.data(id);
    let of_file = |file: &grace_model::config::ConfigFile| {
        let inside = file.path.contains("{data}").then(|| data.clone());
        let path = PathBuf::from(file.path.replace("{data}", &data.to_string_lossy()));
        Declared {
            path,
            format: file.format,
            inside,
        }
    };
    service.map_or_else(Vec::new, |service| {
        service.config.iter().map(of_file).collect()
    })
}

fn good_key(file: &Declared) -> String {
    format!("config-good:{}", file.path.display())
}

/// The hash on the disk (empty when missing) and why the bytes are no good.
fn look(file: &Declared) -> (String, Option<String>) {
    match read_file(file) {
        Ok((bytes, _)) => (hash_of(&bytes), parse::problem(file.format, &bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            (String::new(), Some("the file is missing".to_owned()))
        }
        Err(e) => (String::new(), Some(e.to_string())),
    }
}

fn read_file(file: &Declared) -> io::Result<(Vec<u8>, Metadata)> {
    let path = real_path(file)?;
    let before = fs::symlink_metadata(&path)?;
    if !before.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut open = fs::File::open(&path)?;
    let meta = open.metadata()?;
    // Exchanged for a link between the two looks.
    if (before.dev(), before.ino()) != (meta.dev(), meta.ino()) {
        return Err(io::Error::other("it was replaced while it was opened"));
    }
    let most = file.size_max();
    if meta.len() > most {
        let text = format!("it is larger than {} MiB", most >> 20);
        return Err(io::Error::other(text));
    }
    let mut bytes = Vec::new();
    (&mut open).take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes, meta))
}

/// Where the file really is. Outside data directories the operator may use links; inside, the
/// directory must be the instance's own and the file no link.
fn real_path(file: &Declared) -> io::Result<PathBuf> {
    let Some(inside) = &file.inside else {
        return match fs::canonicalize(&file.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(file.path.clone()),
            path => path,
        };
    };
    let (Some(parent), Some(name)) = (file.path.parent(), file.path.file_name()) else {
        return Err(io::Error::other("it is no path of a file"));
    };
    let parent = fs::canonicalize(parent)?;
    if !parent.starts_with(fs::canonicalize(inside)?) {
        return Err(io::Error::other(
            "a link leads out of the instance's data directory",
        ));
    }
    let path = parent.join(name);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_symlink() => Err(io::Error::other(
            "it is a symbolic link, which is not followed here",
        )),
        _ => Ok(path),
    }
}

fn broken(path: &Path, e: &io::Error) -> PluginError {
    let text = format!("{}: {e}", path.display());
    if e.kind() == io::ErrorKind::NotFound {
        PluginError::NotApplicable(text)
    } else {
        PluginError::Unavailable(text)
    }
}

fn unavailable(e: &dyn std::fmt::Display) -> PluginError {
    PluginError::Unavailable(e.to_string())
}
