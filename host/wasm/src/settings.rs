//! What the registry is told. Reads nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use grace_model::config::Config;
use grace_model::id::PluginName;
use grace_model::layout::Layout;

/// A plugin inside this program.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
    /// Its manifest.
    pub manifest: &'static str,
    /// What [`crate::precompile`] made of the component.
    pub precompiled: Option<&'static [u8]>,
}

/// What the registry is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Plugins inside this program; empty for none.
    pub builtin: Vec<Builtin>,
    /// Drop-in directory. May not exist yet. None: there is none.
    pub dir: Option<PathBuf>,
    /// Grants from `grace.toml`.
    pub grants: BTreeMap<PluginName, Vec<String>>,
    /// The file that `grace plugin grant` writes. Looked at with every scan.
    pub grants_file: PathBuf,
    /// Settings from `grace.toml` that override a manifest's.
    pub config: BTreeMap<PluginName, BTreeMap<String, String>>,
    /// Plugins that are not loaded.
    pub disable: Vec<PluginName>,
    /// Failures in a row after which a plugin is disabled.
    pub strikes: u32,
    /// Time between scans beside file events.
    pub rescan: Duration,
    /// Where compiled code is kept, private.
    pub compiled_dir: PathBuf,
    /// Called when something was compiled: what compiling needed is free again.
    pub compiled: Option<fn()>,
    /// Whether to watch at all. Off: only [`crate::Registry::rescan`] looks again.
    pub watch: bool,
}

impl Settings {
    /// The settings of a host.
    #[must_use]
    pub fn of(config: &Config, builtin: Vec<Builtin>) -> Self {
        let layout = Layout::new(&config.state_dir);
        let plugins = &config.plugins;
        Self {
            builtin: if plugins.builtin { builtin } else { Vec::new() },
            dir: Some(plugins.dir.clone()).filter(|dir| !dir.as_os_str().is_empty()),
            grants: plugins.grants.clone(),
            grants_file: layout.grants(),
            config: plugins.config.clone(),
            disable: plugins.disable.clone(),
            strikes: plugins.strikes.max(1),
            rescan: Duration::from_millis(plugins.rescan_ms.max(50)),
            compiled_dir: layout.compiled(),
            compiled: None,
            watch: true,
        }
    }
}
