//! From a component's bytes and a manifest to a plugin that can be called, or to the reason
//! why not: manifest, names, grants, code, one trial call, in this order, so that the cheap and
//! telling checks come first. Keeps nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use grace_model::manifest::World;
use grace_model::plugin::Batch;
use grace_model::port::CallFailure;
use grace_model::status::PluginState;
use wasmtime::component::Component;

use crate::aot::{self, Cache};
use crate::bindings::action::ActionPre;
use crate::bindings::detector::DetectorPre;
use crate::engine::Machine;
use crate::grant::{Capability, Operator};
use crate::imports;
use crate::limits;
use crate::link;
use crate::manifest::{Checked, check_manifest};
use crate::plugin::{Code, Plugin};
use crate::wasi::WasiGrants;

/// Why a plugin is not live: file, cause, remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LoadError {
    /// `Refused` or `WaitingForGrant`.
    pub state: PluginState,
    /// The file it is about.
    pub file: PathBuf,
    /// The line in it, when there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// Whether the same files may load later: a name that was not resolved, a directory that
    /// was not there.
    pub passing: bool,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}; {}", self.cause, self.remedy)
    }
}

impl LoadError {
    /// A refusal of `file`.
    pub fn refused(file: &Path, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::refused_at(file, None, cause.into(), remedy.into())
    }

    /// A refusal of a line of `file`.
    pub fn refused_at(file: &Path, line: Option<usize>, cause: String, remedy: String) -> Self {
        Self {
            state: PluginState::Refused,
            file: file.to_owned(),
            line,
            cause,
            remedy,
            passing: false,
        }
    }

    fn waiting(file: &Path, name: &str, missing: &[Capability]) -> Self {
        let list = |each: &dyn Fn(&Capability) -> String, between: &str| {
            missing.iter().map(each).collect::<Vec<_>>().join(between)
        };
        Self {
            state: PluginState::WaitingForGrant,
            cause: format!(
                "it asks for {}, which was not granted",
                list(&Capability::to_string, ", ")
            ),
            remedy: format!(
                "run {}",
                list(&|one| format!("`grace plugin grant {name} {one}`"), " and ")
            ),
            ..Self::refused(file, "", "")
        }
    }
}

/// A plugin before it is loaded.
pub struct Source<'a> {
    /// As its file is named.
    pub name: &'a str,
    /// `builtin`, or the component's path.
    pub origin: String,
    /// Whether it came inside the program.
    pub shipped: bool,
    /// Where the component is, for messages.
    pub wasm_file: PathBuf,
    /// Where the manifest is, for messages.
    pub manifest_file: PathBuf,
    /// The component.
    pub wasm: &'a [u8],
    /// The manifest.
    pub manifest: &'a str,
    /// BLAKE3 of the component, in hex.
    pub hash: String,
    /// Compiled code inside the program.
    pub precompiled: Option<&'static [u8]>,
}

/// Where a plugin is loaded to.
pub struct Site<'a> {
    /// The engine.
    pub machine: &'a Arc<Machine>,
    /// Compiled code.
    pub cache: Option<&'a Cache>,
}

/// What is known of a plugin before the operator is asked and anything is compiled.
pub struct Looked {
    /// Its manifest.
    pub checked: Checked,
    /// Capabilities that its imports need.
    pub needs: Vec<Capability>,
}

/// Checks all that can be checked without an operator and a compiler.
pub fn look(source: &Source<'_>) -> Result<Looked, LoadError> {
    let checked = check_manifest(&source.manifest_file, source.manifest)?;
    let world = checked.manifest.world;
    let of_wasm = |(cause, remedy)| LoadError::refused_at(&source.wasm_file, None, cause, remedy);
    let names = imports::read(source.wasm).map_err(of_wasm)?;
    let needs = imports::check_imports(world, &names).map_err(of_wasm)?;
    imports::check_exports(world, &names).map_err(of_wasm)?;
    if let Some(silent) = needs.iter().find(|need| !checked.wants.contains(need)) {
        return Err(LoadError::refused(
            &source.wasm_file,
            format!(
                "it imports what needs {silent}, and {} does not ask for it",
                source.manifest_file.display()
            ),
            format!(
                "add \"{silent}\" to `wants`, then run `grace plugin grant {} {silent}`",
                source.name
            ),
        ));
    }
    Ok(Looked { checked, needs })
}

/// Loads a plugin: looks, turns both keys, compiles, links, tries it once.
pub fn load(
    source: &Source<'_>,
    site: &Site<'_>,
    operator: &Operator,
    overrides: Option<&BTreeMap<String, String>>,
) -> Result<Plugin, LoadError> {
    let looked = look(source)?;
    let decision = operator.decide(&looked.checked.wants, source.shipped);
    if !decision.missing.is_empty() {
        if !decision.answered {
            return Err(LoadError::waiting(
                &source.manifest_file,
                source.name,
                &decision.missing,
            ));
        }
        if let Some(denied) = looked
            .needs
            .iter()
            .find(|need| decision.missing.contains(need))
        {
            return Err(LoadError::refused(
                &source.wasm_file,
                format!(
                    "it cannot run without {denied}, and [plugins.grants] of grace.toml lists what {} may have without it",
                    source.name
                ),
                format!(
                    "run `grace plugin grant {} {denied}`, or name it in [plugins] disable",
                    source.name
                ),
            ));
        }
    }
    build(source, site, looked, decision.granted, overrides)
}

/// Compiles, links and tries a plugin that holds `granted`.
pub fn build(
    source: &Source<'_>,
    site: &Site<'_>,
    looked: Looked,
    granted: Vec<Capability>,
    overrides: Option<&BTreeMap<String, String>>,
) -> Result<Plugin, LoadError> {
    let world = looked.checked.manifest.world;
    let refused = |cause: String, remedy: &str| {
        LoadError::refused_at(&source.wasm_file, None, cause, remedy.to_owned())
    };
    let wasi = resolve(&granted, &source.manifest_file)?;
    let component = component(source, site).map_err(|error| {
        refused(
            format!("it does not compile: {}", one_line(&error)),
            "build it again with the toolchain that `grace plugin new` sets up",
        )
    })?;
    let linker = link::linker(site.machine, world, &granted).map_err(|error| {
        refused(
            format!("the host cannot link it: {}", one_line(&error)),
            "report this",
        )
    })?;
    let unfit = |error: wasmtime::Error| {
        refused(
            format!(
                "it does not fit world {}: {}",
                world.word(),
                one_line(&error)
            ),
            "build it against grace:plugin@0.1.0 as wit/ has it",
        )
    };
    let pre = linker.instantiate_pre(&component).map_err(unfit)?;
    let code = match world {
        World::Detector => Code::Detector(DetectorPre::new(pre).map_err(unfit)?),
        World::Action => Code::Action(ActionPre::new(pre).map_err(unfit)?),
    };
    let mut config: BTreeMap<String, String> = looked
        .checked
        .manifest
        .config
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect();
    let declared = config.keys().cloned().collect();
    config.extend(
        overrides
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    let mut plugin = Plugin {
        name: Arc::from(source.name),
        origin: source.origin.clone(),
        shipped: source.shipped,
        hash: source.hash.clone(),
        manifest_hash: blake3::hash(source.manifest.as_bytes())
            .to_hex()
            .to_string(),
        world,
        wants: looked.checked.wants,
        granted,
        limits: looked.checked.limits,
        config: Arc::new(config),
        declared,
        actions: Vec::new(),
        trial: true,
        wasi,
        code,
        machine: Arc::clone(site.machine),
    };
    try_once(&mut plugin, &source.wasm_file)?;
    plugin.trial = false;
    Ok(plugin)
}

fn component(source: &Source<'_>, site: &Site<'_>) -> wasmtime::Result<Component> {
    let engine = &site.machine.engine;
    if let Some(component) = source
        .precompiled
        .and_then(|code| aot::load_shipped(engine, &source.hash, code))
    {
        return Ok(component);
    }
    if let Some(component) = site
        .cache
        .and_then(|cache| cache.load(engine, &source.hash))
    {
        return Ok(component);
    }
    let component = Component::new(engine, source.wasm)?;
    site.machine.compiled.fetch_add(1, Ordering::Relaxed);
    let Some(cache) = site.cache else {
        return Ok(component);
    };
    cache.store(&source.hash, &component);
    // From the file, code takes no memory of its own that nothing touches.
    Ok(cache.load(engine, &source.hash).unwrap_or(component))
}

fn resolve(granted: &[Capability], file: &Path) -> Result<WasiGrants, LoadError> {
    let mut wasi = WasiGrants::default();
    let mut peers: Vec<SocketAddr> = Vec::new();
    for capability in granted {
        match capability {
            Capability::FsRead(path) => wasi.dirs.push((path.clone(), false)),
            Capability::FsWrite(path) => wasi.dirs.push((path.clone(), true)),
            Capability::Net(host, port) => {
                wasi.names |= host.parse::<std::net::IpAddr>().is_err();
                let found =
                    (host.as_str(), *port)
                        .to_socket_addrs()
                        .map_err(|error| LoadError {
                            passing: true,
                            ..LoadError::refused(
                                file,
                                format!("{capability} cannot be resolved: {error}"),
                                "correct the name; it is tried again by itself",
                            )
                        })?;
                peers.extend(found);
            }
            _ => {}
        }
    }
    wasi.peers = peers.into();
    Ok(wasi)
}

/// The first call, before anybody depends on the plugin.
fn try_once(plugin: &mut Plugin, file: &Path) -> Result<(), LoadError> {
    let (limits, world) = (plugin.limits, plugin.world);
    let failed = |call: &str, failure: CallFailure| LoadError {
        passing: matches!(
            failure,
            CallFailure::NotCallable(_) | CallFailure::Deadline(_)
        ),
        ..LoadError::refused(
            file,
            format!("its first call ({call}) failed: {failure}"),
            limits::remedy(&failure, &limits, world).unwrap_or_else(|| {
                "correct it; `grace plugin test` runs it without a host".to_owned()
            }),
        )
    };
    match plugin.world {
        World::Detector => {
            let nothing = Batch {
                now: 0,
                observations: Vec::new(),
            };
            plugin
                .observe(&[], &nothing)
                .result
                .map_err(|why| failed("an empty batch", why))?;
        }
        World::Action => {
            let actions = plugin
                .describe()
                .result
                .map_err(|why| failed("describe", why))?;
            let mut names: Vec<&str> = actions.iter().map(|info| info.name.as_str()).collect();
            names.sort_unstable();
            let twice = names.windows(2).find_map(|pair| match pair {
                [one, other] if one == other => Some(*one),
                _ => None,
            });
            let wrong = match (names.first(), twice) {
                (None, _) => Some("describe names no action".to_owned()),
                (_, Some(name)) => Some(format!("describe names {name} twice")),
                _ => names
                    .iter()
                    .find(|name| !is_action_name(name))
                    .map(|name| format!("describe names {name:?}, which is not like pack.verb")),
            };
            if let Some(cause) = wrong {
                return Err(LoadError::refused(
                    file,
                    cause,
                    "correct what `describe` answers",
                ));
            }
            plugin.actions = actions;
        }
    }
    Ok(())
}

fn is_action_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(pack, verb)| {
        [pack, verb].iter().all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
        })
    })
}

fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
