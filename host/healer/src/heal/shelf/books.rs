//! The texts of playbooks and what of them can be used. It must not know incidents or runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use grace_model::id::PlaybookId;
use grace_model::playbook::Playbook;
use grace_model::plugin::ActionInfo;
use grace_plan::playbook::{Catalogue, load, render};

/// The origin of playbooks inside the binary.
const BUILTIN: &str = "builtin";
/// Longest playbook file.
const SIZE_MAX: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct Books {
    /// By name in the binary, or by path.
    sources: BTreeMap<(Origin, String), Source>,
    pub(super) generation: Option<u64>,
    pub(super) shown: Vec<Shown>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Builtin,
    File,
}

#[derive(Debug)]
struct Source {
    text: std::result::Result<String, String>,
    stamp: Option<Stamp>,
    /// The last text that could be used, and the id in it.
    good: Option<(String, PlaybookId)>,
}

type Stamp = (u64, u64, u64, i64, i64);

/// One playbook as it stands.
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) origin: String,
    pub(super) playbook: Option<Playbook>,
    pub(super) error: Option<String>,
}

impl Books {
    /// A playbook inside the binary.
    pub(super) fn put_builtin(&mut self, name: &str, text: &str) {
        let source = Source::of(Ok(text.to_owned()));
        self.sources
            .insert((Origin::Builtin, name.to_owned()), source);
    }

    /// Reads files that are new or changed; forgets those that are gone.
    pub(super) fn scan(&mut self, dir: &Path) -> bool {
        let mut changed = false;
        let mut found: Vec<String> = Vec::new();
        for path in files_in(dir) {
            let name = path.display().to_string();
            found.push(name.clone());
            let stamp = fs::metadata(&path)
                .ok()
                .map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
            let source = self.sources.entry((Origin::File, name));
            let source = source.or_insert_with(|| Source::of(Err("not read yet".to_owned())));
            if stamp.is_some() && source.stamp == stamp {
                continue;
            }
            source.stamp = stamp;
            source.text = read(&path);
            changed = true;
        }
        let before = self.sources.len();
        self.sources.retain(|(origin, name), _| {
            *origin == Origin::Builtin || found.iter().any(|path| path == name)
        });
        changed || self.sources.len() != before
    }

    pub(super) fn check(&mut self, actions: &[ActionInfo], channels: &[String]) {
        let ids = self.ids();
        let catalogue = Catalogue {
            actions,
            findings: None,
            channels: Some(channels),
            playbooks: Some(&ids),
        };
        self.shown.clear();
        // Files come after what is built in and take its place.
        for ((origin, name), source) in &mut self.sources {
            let mut shown = source.shown(*origin, name, &catalogue);
            if actions.is_empty() {
                shown.playbook = None;
                shown.error = Some(
                    "no action pack is live, so it cannot do anything: see `grace plugin list`"
                        .to_owned(),
                );
            }
            let same = self.shown.iter().position(|other| other.id == shown.id);
            match same.and_then(|index| self.shown.get_mut(index)) {
                None => self.shown.push(shown),
                // A file that cannot be used does not take away what is built in.
                Some(other) if other.origin == BUILTIN && shown.playbook.is_some() => {
                    *other = shown
                }
                Some(other) if other.origin == BUILTIN => self.shown.push(shown),
                Some(other) => {
                    let error = format!("the id {} is already used by {}", shown.id, other.origin);
                    shown.playbook = None;
                    shown.error = Some(error);
                    self.shown.push(shown);
                }
            }
        }
        for shown in &self.shown {
            if let Some(error) = &shown.error {
                tracing::warn!(
                    playbook = shown.id,
                    origin = shown.origin,
                    error,
                    "a playbook has a fault"
                );
            }
        }
    }

    /// Every id that a text has, also one that does not check.
    fn ids(&self) -> Vec<String> {
        let texts = self
            .sources
            .values()
            .filter_map(|source| source.text.as_ref().ok());
        texts
            .filter_map(|text| grace_plan::playbook::read(text, "").ok())
            .map(|read| read.playbook.id.0)
            .collect()
    }
}

impl Source {
    fn of(text: std::result::Result<String, String>) -> Self {
        Self {
            text,
            stamp: None,
            good: None,
        }
    }

    fn shown(&mut self, origin: Origin, name: &str, catalogue: &Catalogue<'_>) -> Shown {
        let origin = match origin {
            Origin::Builtin => BUILTIN.to_owned(),
            Origin::File => name.to_owned(),
        };
        let fault = match &self.text {
            Ok(text) => {
                let loaded = load(text, name, catalogue);
                if let Some(playbook) = loaded.playbook {
                    self.good = Some((text.clone(), playbook.id.clone()));
                    let id = playbook.id.0.clone();
                    return Shown {
                        id,
                        origin,
                        playbook: Some(playbook),
                        error: None,
                    };
                }
                let errors = loaded.diagnostics.iter().filter(|d| d.is_error());
                errors
                    .map(|d| render(d, text, false))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Err(e) => e.clone(),
        };
        let before = self
            .good
            .as_ref()
            .map(|(text, id)| (load(text, name, catalogue).playbook, id.0.clone()));
        if let Some((Some(playbook), id)) = before {
            let error = format!("{fault}\nits last good version is still used");
            return Shown {
                id,
                origin,
                playbook: Some(playbook),
                error: Some(error),
            };
        }
        let readable = self.text.as_ref().ok().and_then(|text| {
            grace_plan::playbook::read(text, name)
                .ok()
                .map(|read| read.playbook.id.0)
        });
        let stem = || {
            Path::new(name)
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        };
        let id = readable.or_else(stem).unwrap_or_else(|| name.to_owned());
        Shown {
            id,
            origin,
            playbook: None,
            error: Some(fault),
        }
    }
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    // A directory that does not exist holds no playbooks; it may come later.
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> std::result::Result<String, String> {
    let told = |e: std::io::Error| format!("{}: {e}", path.display());
    if fs::metadata(path).map_err(told)?.len() > SIZE_MAX {
        return Err(format!(
            "{}: larger than 1 MiB, which no playbook is",
            path.display()
        ));
    }
    fs::read_to_string(path).map_err(told)
}
