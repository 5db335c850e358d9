//! What is loaded at one moment, for calls to read without a lock: entries by name, actions by
//! name. Made anew by the loader; only the tallies inside change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use grace_model::plugin::ActionInfo;
use grace_model::status::{PluginState, PluginView};

use crate::load::LoadError;
use crate::plugin::Plugin;

/// A plugin with what has been counted of it.
pub struct Live {
    /// The plugin.
    pub plugin: Plugin,
    /// Calls made.
    pub calls: AtomicU64,
    /// Calls that failed.
    pub failures: AtomicU64,
    /// Strikes in a row.
    pub row: AtomicU32,
    /// Why it is called no more.
    pub disabled: OnceLock<String>,
}

impl Live {
    /// A plugin that was not called yet.
    pub fn new(plugin: Plugin) -> Self {
        Self {
            plugin,
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            row: AtomicU32::new(0),
            disabled: OnceLock::new(),
        }
    }

    /// Whether it is called.
    pub fn callable(&self) -> bool {
        self.disabled.get().is_none()
    }
}

/// One name: what is live under it, and what is wrong with the files.
#[derive(Clone, Default)]
pub struct Entry {
    /// What calls go to.
    pub live: Option<Arc<Live>>,
    /// Why the files as they are now are not what is live.
    pub error: Option<(PluginState, String)>,
    /// What an operator should know of a plugin that is live all the same.
    pub note: Option<String>,
    /// What could be read of the files, for when nothing is live.
    pub found: Found,
}

/// What could be read of a plugin that is not live.
#[derive(Clone, Default)]
pub struct Found {
    /// Its world's word, or empty.
    pub world: String,
    /// Where it is.
    pub origin: String,
    /// BLAKE3 of the component, or empty.
    pub hash: String,
    /// What it asks.
    pub wants: Vec<String>,
}

/// All of it.
#[derive(Default)]
pub struct Snapshot {
    /// By plugin.
    pub entries: BTreeMap<String, Entry>,
    /// By action.
    pub actions: BTreeMap<String, (Arc<Live>, ActionInfo)>,
}

impl Snapshot {
    /// Puts entries together. An action that two packs offer stays with the one that came
    /// inside the program, else with the first by name; the other pack is refused.
    pub fn compose(mut entries: BTreeMap<String, Entry>) -> Self {
        let mut actions: BTreeMap<String, (Arc<Live>, ActionInfo)> = BTreeMap::new();
        let mut order: Vec<(bool, String)> = entries
            .iter()
            .filter_map(|(name, entry)| Some((!entry.live.as_ref()?.plugin.shipped, name.clone())))
            .collect();
        order.sort();
        for (_, name) in order {
            let Some(entry) = entries.get_mut(&name) else {
                continue;
            };
            let Some(live) = entry.live.clone() else {
                continue;
            };
            let taken = live.plugin.actions.iter().find_map(|info| {
                Some((
                    info.name.clone(),
                    actions.get(&info.name)?.0.plugin.name.to_string(),
                ))
            });
            if let Some((action, owner)) = taken {
                let error = LoadError::refused(
                    Path::new(&live.plugin.origin),
                    format!("it offers {action}, which plugin {owner} offers too"),
                    format!(
                        "rename the action, or name {owner} in [plugins] disable of grace.toml"
                    ),
                );
                entry.found = Found {
                    world: live.plugin.world.word().to_owned(),
                    origin: live.plugin.origin.clone(),
                    hash: live.plugin.hash.clone(),
                    wants: live.plugin.wants.iter().map(ToString::to_string).collect(),
                };
                entry.error = Some((error.state, error.to_string()));
                entry.live = None;
                continue;
            }
            for info in &live.plugin.actions {
                actions.insert(info.name.clone(), (Arc::clone(&live), info.clone()));
            }
        }
        Self { entries, actions }
    }

    /// Which plugins are live, in which version: two snapshots with the same answer serve the
    /// same calls.
    pub fn lives(&self) -> Vec<*const Live> {
        self.entries
            .values()
            .filter_map(|entry| entry.live.as_ref().map(Arc::as_ptr))
            .collect()
    }
}

impl Entry {
    /// As `grace plugin list` shows it.
    pub fn view(&self, name: &str) -> PluginView {
        let Some(live) = &self.live else {
            let (state, error) = match &self.error {
                Some((state, error)) => (*state, Some(error.clone())),
                None => (PluginState::Refused, None),
            };
            return PluginView {
                name: name.to_owned(),
                world: self.found.world.clone(),
                state,
                error,
                origin: self.found.origin.clone(),
                hash: self.found.hash.clone(),
                wants: self.found.wants.clone(),
                granted: Vec::new(),
                calls: 0,
                failures: 0,
            };
        };
        let plugin = &live.plugin;
        let words = |list: &[crate::Capability]| list.iter().map(ToString::to_string).collect();
        let (state, error) = match (live.disabled.get(), &self.error) {
            (Some(why), _) => (PluginState::Disabled, Some(why.clone())),
            (None, Some((_, why))) => (
                PluginState::Live,
                Some(format!("the version before stays live: {why}")),
            ),
            (None, None) => (PluginState::Live, self.note.clone()),
        };
        PluginView {
            name: name.to_owned(),
            world: plugin.world.word().to_owned(),
            state,
            error,
            origin: plugin.origin.clone(),
            hash: plugin.hash.clone(),
            wants: words(&plugin.wants),
            granted: words(&plugin.granted),
            calls: live.calls.load(Ordering::Relaxed),
            failures: live.failures.load(Ordering::Relaxed),
        }
    }
}
