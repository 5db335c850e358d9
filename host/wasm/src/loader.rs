//! Decides at each scan what is loaded, kept, replaced and unloaded. All loading happens here,
//! one scan at a time; calls go on meanwhile on the snapshot before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use grace_model::id::PluginName;
use grace_model::status::PluginState;

use crate::aot::Cache;
use crate::engine::Machine;
use crate::files::{self, Stamp};
use crate::grant::{Capability, Operator, read_grants};
use crate::load::{self, LoadError, Site, Source};
use crate::settings::{Builtin, Settings};
use crate::snapshot::{Entry, Found, Live, Snapshot};
use crate::tell;

/// Compilers that run at once when many plugins are new.
const COMPILERS: usize = 4;

/// Components of at least this many bytes take seconds to compile: an interpreter.
const SLOW: u64 = 4 << 20;

/// Loads and remembers.
pub struct Loader {
    settings: Settings,
    machine: Arc<Machine>,
    cache: Option<Cache>,
    slots: BTreeMap<String, Slot>,
    added: BTreeMap<PluginName, Vec<String>>,
    grants_stamp: Option<Stamp>,
    /// Leaves out what takes long to compile; see [`Loader::scan_quickly`].
    hasty: bool,
}

/// What was there when a name was last looked at. As long as it is the same, there is nothing
/// to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    wasm: Option<Stamp>,
    manifest: Option<Stamp>,
    operator: Operator,
}

/// Why there is nothing, and what could be read all the same.
struct Unloaded {
    error: LoadError,
    found: Found,
}

#[derive(Clone)]
struct Slot {
    key: Key,
    /// Attempts in a row that failed of something that may pass by itself.
    tries: u32,
    /// When the same key is tried again; none when it would come out the same.
    again: Option<Instant>,
    entry: Entry,
}

impl Loader {
    /// A loader that has loaded nothing yet.
    pub fn new(settings: Settings, machine: Arc<Machine>) -> Self {
        let cache = Cache::open(&settings.compiled_dir, &machine.engine)
            .inspect_err(|why| {
                tracing::warn!(
                    "compiled plugins are not kept, so every start compiles them: {why}"
                );
            })
            .ok();
        Self {
            settings,
            machine,
            cache,
            slots: BTreeMap::new(),
            added: BTreeMap::new(),
            grants_stamp: None,
            hasty: false,
        }
    }

    /// One look at everything but components of the size of an interpreter that were never
    /// compiled here: a start must not wait for them. Whether any was left for [`Self::scan`].
    pub fn scan_quickly(&mut self) -> (Snapshot, bool) {
        self.hasty = true;
        let left = self.names_in_dir().iter().any(|name| self.is_slow(name));
        let snapshot = self.scan();
        self.hasty = false;
        (snapshot, left)
    }

    fn is_slow(&self, name: &str) -> bool {
        let Some((wasm, manifest)) = self.paths(name) else {
            return false;
        };
        if files::stamp(&wasm).is_none_or(|stamp| stamp.size() < SLOW) {
            return false;
        }
        let known = |cache: &Cache| {
            files::read(name, &wasm, &manifest).is_ok_and(|files| cache.has(&files.hash))
        };
        !self.cache.as_ref().is_some_and(known)
    }

    /// One look at everything.
    pub fn scan(&mut self) -> Snapshot {
        self.read_grants();
        let mut names = self.names_in_dir();
        if self.hasty {
            names.retain(|name| !self.is_slow(name));
        }
        names.extend(
            self.settings
                .builtin
                .iter()
                .map(|builtin| builtin.name.to_owned()),
        );
        let keys: BTreeMap<String, Key> = names
            .into_iter()
            .map(|name| (name.clone(), self.key(&name)))
            .collect();
        let work: Vec<(&String, &Key)> = keys
            .iter()
            .filter(|(name, key)| {
                self.slots.get(*name).is_none_or(|slot| {
                    slot.key != **key || slot.again.is_some_and(|at| at <= Instant::now())
                })
            })
            .collect();
        let done = self.attempt_all(&work);
        self.slots.retain(|name, _| {
            let stays = keys.contains_key(name);
            if !stays {
                tracing::info!(plugin = name, "unloaded");
            }
            stays
        });
        self.slots.extend(done);
        let entries = self
            .slots
            .iter()
            .map(|(name, slot)| (name.clone(), slot.entry.clone()))
            .collect();
        Snapshot::compose(entries)
    }

    fn read_grants(&mut self) {
        let stamp = files::stamp(&self.settings.grants_file);
        if stamp == self.grants_stamp {
            return;
        }
        self.grants_stamp = stamp;
        match read_grants(&self.settings.grants_file) {
            Ok(grants) => self.added = grants,
            Err(error) => tracing::error!("the grants before stay in force: {error}"),
        }
    }

    /// Names of the drop-in directory: a component or a manifest is enough.
    fn names_in_dir(&self) -> BTreeSet<String> {
        let Some(dir) = &self.settings.dir else {
            return BTreeSet::new();
        };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(dir = %dir.display(), "cannot look for plugins: {error}");
                }
                return BTreeSet::new();
            }
        };
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|end| end == "wasm" || end == "toml")
            })
            // A name that is no text is listed too, and refused for it.
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .filter(|name| !name.starts_with('.'))
            .collect()
    }

    fn paths(&self, name: &str) -> Option<(PathBuf, PathBuf)> {
        let dir = self.settings.dir.as_ref()?;
        Some((
            dir.join(format!("{name}.wasm")),
            dir.join(format!("{name}.toml")),
        ))
    }

    fn key(&self, name: &str) -> Key {
        let (wasm, manifest) = self.paths(name).map_or((None, None), |(wasm, manifest)| {
            (files::stamp(&wasm), files::stamp(&manifest))
        });
        Key {
            wasm,
            manifest,
            operator: self.operator(name),
        }
    }

    fn operator(&self, name: &str) -> Operator {
        let name = PluginName::from(name);
        let read = |list: &Vec<String>, file: &str| -> Vec<Capability> {
            list.iter()
                .filter_map(|text| {
                    Capability::parse(text)
                        .inspect_err(
                            |why| tracing::warn!(plugin = %name, "grant in {file} ignored: {why}"),
                        )
                        .ok()
                })
                .collect()
        };
        Operator {
            listed: self
                .settings
                .grants
                .get(&name)
                .map(|list| read(list, "grace.toml")),
            added: self
                .added
                .get(&name)
                .map(|list| read(list, "grants.toml"))
                .unwrap_or_default(),
        }
    }

    fn builtin(&self, name: &str) -> Option<Builtin> {
        self.settings
            .builtin
            .iter()
            .find(|builtin| builtin.name == name)
            .copied()
    }

    /// Attempts every name of `work`, several at once when there are several.
    fn attempt_all(&self, work: &[(&String, &Key)]) -> Vec<(String, Slot)> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = work.len().min(processors).min(COMPILERS);
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(work.len()));
        let take = || {
            while let Some((name, key)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                let slot = self.attempt_safely(name, key);
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(((*name).clone(), slot));
            }
        };
        if threads <= 1 {
            take();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(take);
                }
            });
        }
        done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Self::attempt`]; a defect of ours that a file brings to light costs that plugin
    /// and not the host.
    fn attempt_safely(&self, name: &str, key: &Key) -> Slot {
        let attempt = std::panic::AssertUnwindSafe(|| self.attempt(name, key));
        std::panic::catch_unwind(attempt).unwrap_or_else(|panic| {
            let before = self.slots.get(name).map(|slot| slot.entry.clone());
            let entry = tell::fallen(name, &*panic, before);
            tell::tell(name, None, &entry);
            Slot {
                key: key.clone(),
                tries: 0,
                again: None,
                entry,
            }
        })
    }

    /// What `name` is from now on.
    fn attempt(&self, name: &str, key: &Key) -> Slot {
        let before = self.slots.get(name).map(|slot| &slot.entry);
        if self.settings.disable.iter().any(|one| one.as_str() == name) {
            let entry = Entry {
                error: Some((
                    PluginState::Disabled,
                    format!(
                        "{name}: named in [plugins] disable of grace.toml; remove it there to load it"
                    ),
                )),
                ..Entry::default()
            };
            return Slot {
                key: key.clone(),
                tries: 0,
                again: None,
                entry,
            };
        }
        let live_before = before.and_then(|entry| entry.live.clone());
        let present = |(wasm, manifest): &(PathBuf, PathBuf)| {
            !files::is_name(name) || files::is_there(wasm) || files::is_there(manifest)
        };
        let (live, error, found) = match self.paths(name).filter(present) {
            Some((wasm, manifest)) => {
                match self.drop_in(name, &wasm, &manifest, key, live_before.as_ref()) {
                    Ok(live) => (Some(live), None, Found::default()),
                    Err(unloaded) => {
                        let Unloaded { error, found } = *unloaded;
                        let both = key.wasm.is_some() && key.manifest.is_some();
                        let (stays, builtin_error) =
                            self.instead(name, key, live_before.filter(|_| both));
                        (stays, Some(builtin_error.unwrap_or(error)), found)
                    }
                }
            }
            None => match self.shipped(name, key, live_before.as_ref()) {
                Some(Ok(live)) => (Some(live), None, Found::default()),
                Some(Err(unloaded)) => (None, Some(unloaded.error), unloaded.found),
                None => (None, None, Found::default()),
            },
        };
        let tries = match &error {
            Some(error) if error.passing => self
                .slots
                .get(name)
                .filter(|slot| slot.key == *key)
                .map_or(1, |slot| slot.tries.saturating_add(1)),
            _ => 0,
        };
        let error = error.map(|error| (error.state, error.to_string()));
        let note = live.as_ref().and_then(|live| {
            let set = self.settings.config.get(&PluginName::from(name))?;
            tell::unknown_settings(&live.plugin, set)
        });
        let entry = Entry {
            live,
            error,
            note,
            found,
        };
        tell::tell(name, before, &entry);
        Slot {
            key: key.clone(),
            tries,
            again: tell::pause(tries).map(|pause| Instant::now() + pause),
            entry,
        }
    }

    /// Loads the files, unless they are what is live already.
    fn drop_in(
        &self,
        name: &str,
        wasm_file: &Path,
        manifest_file: &Path,
        key: &Key,
        before: Option<&Arc<Live>>,
    ) -> Result<Arc<Live>, Box<Unloaded>> {
        let mut found = Found {
            origin: wasm_file.display().to_string(),
            ..Found::default()
        };
        let files = match files::read(name, wasm_file, manifest_file) {
            Ok(files) => files,
            Err(error) => return Err(Box::new(Unloaded { error, found })),
        };
        found.hash.clone_from(&files.hash);
        let manifest_hash = blake3::hash(files.manifest.as_bytes()).to_hex();
        let same = before.filter(|live| {
            let plugin = &live.plugin;
            !plugin.shipped
                && plugin.hash == files.hash
                && plugin.manifest_hash == *manifest_hash
                && live.callable()
                && key.operator.decide(&plugin.wants, false).granted == plugin.granted
        });
        if let Some(live) = same {
            return Ok(Arc::clone(live));
        }
        let source = Source {
            name,
            origin: found.origin.clone(),
            shipped: false,
            wasm_file: wasm_file.to_owned(),
            manifest_file: manifest_file.to_owned(),
            wasm: &files.wasm,
            manifest: &files.manifest,
            hash: files.hash,
            precompiled: None,
        };
        self.load(&source, key, found)
    }

    /// The plugin of this name inside the program; none when there is none.
    fn shipped(
        &self,
        name: &str,
        key: &Key,
        before: Option<&Arc<Live>>,
    ) -> Option<Result<Arc<Live>, Box<Unloaded>>> {
        let builtin = self.builtin(name)?;
        let same = before.filter(|live| {
            let plugin = &live.plugin;
            plugin.shipped && key.operator.decide(&plugin.wants, true).granted == plugin.granted
        });
        if let Some(live) = same {
            return Some(Ok(Arc::clone(live)));
        }
        let hash = blake3::hash(builtin.wasm).to_hex().to_string();
        let found = Found {
            origin: "builtin".to_owned(),
            hash: hash.clone(),
            ..Found::default()
        };
        let source = Source {
            name,
            origin: "builtin".to_owned(),
            shipped: true,
            wasm_file: PathBuf::from(format!("builtin {name}.wasm")),
            manifest_file: PathBuf::from(format!("builtin {name}.toml")),
            wasm: builtin.wasm,
            manifest: builtin.manifest,
            hash,
            precompiled: builtin.precompiled,
        };
        Some(self.load(&source, key, found))
    }

    fn load(
        &self,
        source: &Source<'_>,
        key: &Key,
        mut found: Found,
    ) -> Result<Arc<Live>, Box<Unloaded>> {
        let site = Site {
            machine: &self.machine,
            cache: self.cache.as_ref(),
        };
        let overrides = self.settings.config.get(&PluginName::from(source.name));
        load::load(source, &site, &key.operator, overrides)
            .map(|plugin| Arc::new(Live::new(plugin)))
            .map_err(|error| {
                if let Ok(manifest) =
                    crate::manifest::read_manifest(&source.manifest_file, source.manifest)
                {
                    found.world = manifest.world.word().to_owned();
                    found.wants = manifest.wants;
                }
                Box::new(Unloaded { error, found })
            })
    }

    /// What is live in place of files that do not load: what was live before, if it may still
    /// hold what it holds, else the plugin of that name inside the program.
    fn instead(
        &self,
        name: &str,
        key: &Key,
        before: Option<Arc<Live>>,
    ) -> (Option<Arc<Live>>, Option<LoadError>) {
        let kept = before.filter(|live| {
            let plugin = &live.plugin;
            key.operator
                .decide(&plugin.granted, plugin.shipped)
                .missing
                .is_empty()
        });
        if kept.is_some() {
            return (kept, None);
        }
        match self.shipped(name, key, None) {
            Some(Ok(live)) => (Some(live), None),
            Some(Err(unloaded)) => (None, Some(unloaded.error)),
            None => (None, None),
        }
    }
}

#[cfg(test)]
mod tests;
