//! The plugin host as the healer sees it: looks up, checks parameters, calls, counts strikes.
//! Loading is the loader's; what a finding means is the healer's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use grace_model::manifest::World;
use grace_model::plugin::{
    ActionCall, ActionInfo, Batch, Observed, ParamType, PluginError, Receipt, Value,
};
use grace_model::port::{CallFailure, DetectorView, HostPort, PluginHost};
use grace_model::status::PluginView;

use crate::engine::{EngineError, Machine};
use crate::grant::Capability;
use crate::limits;
use crate::loader::Loader;
use crate::plugin::Called;
use crate::settings::Settings;
use crate::snapshot::{Live, Snapshot};
use crate::watch::Watch;

/// Why the registry does not start. A bad plugin is never the reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No thread.
    #[error(
        "cannot start the thread that loads plugins: {0}; is the limit of processes reached (ulimit -u)?"
    )]
    Thread(std::io::Error),
}

/// What the registry and its loading thread share.
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
    loader: Mutex<Loader>,
    machine: Arc<Machine>,
    compiled: Option<fn()>,
}

impl Shared {
    /// Looks at the directory and the grants, and swaps in what came of it.
    pub fn scan(&self) {
        self.look(|loader| (loader.scan(), ()));
    }

    /// The first look, which leaves what takes long to compile; whether there is such.
    fn scan_quickly(&self) -> bool {
        self.look(Loader::scan_quickly)
    }

    fn look<T>(&self, scan: impl FnOnce(&mut Loader) -> (Snapshot, T)) -> T {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = || self.machine.compiled.load(Ordering::Relaxed);
        let before = compiled();
        let (next, more) = scan(&mut loader);
        let next = Arc::new(next);
        if let Some(told) = self.compiled.filter(|_| compiled() > before) {
            told();
        }
        let before = self.snapshot.swap(Arc::clone(&next));
        if before.lives() != next.lives() {
            self.generation.fetch_add(1, Ordering::Release);
        }
        more
    }
}

/// Figures of the engine, for views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Whether instances come from a pool; on demand otherwise.
    pub pooled: bool,
    /// Components compiled since the start; the others came compiled.
    pub compiled: u64,
    /// Plugins linked since the start: one for each that was loaded, none for a call.
    pub linked: u64,
    /// Instances that the pool has given out at this moment; none without a pool.
    pub instances: Option<u64>,
}

/// All plugins, live or not.
pub struct Registry {
    machine: Arc<Machine>,
    shared: Arc<Shared>,
    strikes: u32,
    dir: String,
    /// Ends with the registry.
    _watch: Option<Watch>,
}

impl Registry {
    /// Loads every plugin and starts watching. Components of the size of an interpreter that were
    /// never compiled here are loaded by the watching thread, some seconds later.
    ///
    /// # Errors
    /// [`StartError`], only when this machine cannot run WebAssembly at all.
    pub fn start(settings: Settings) -> Result<Arc<Self>, StartError> {
        let machine = Arc::new(Machine::new()?);
        let (watch, rescan, dir) = (settings.watch, settings.rescan, settings.dir.clone());
        let strikes = settings.strikes.max(1);
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::default(),
            generation: AtomicU64::new(0),
            machine: Arc::clone(&machine),
            compiled: settings.compiled,
            loader: Mutex::new(Loader::new(settings, Arc::clone(&machine))),
        });
        let left = if watch {
            shared.scan_quickly()
        } else {
            shared.scan();
            false
        };
        let watcher = watch
            .then(|| Watch::start(Arc::clone(&shared), dir.clone(), rescan, left))
            .transpose()
            .map_err(StartError::Thread)?;
        Ok(Arc::new(Self {
            machine,
            shared,
            strikes,
            dir: dir.map_or_else(
                || "the plugin directory".to_owned(),
                |dir| dir.display().to_string(),
            ),
            _watch: watcher,
        }))
    }

    /// Looks at the directory and the grants now, and returns when what was found is loaded.
    pub fn rescan(&self) {
        self.shared.scan();
    }

    /// Figures of the engine.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            pooled: self.machine.pooled,
            compiled: self.machine.compiled.load(Ordering::Relaxed),
            linked: self.machine.linked.load(Ordering::Relaxed),
            instances: self.machine.pooled_instances(),
        }
    }

    /// One call of a detector, with the fuel it spent.
    #[must_use]
    pub fn observe_counted(&self, detector: &str, state: &[u8], batch: &Batch) -> Called<Observed> {
        match self.find(detector) {
            Ok(live) => self.settle(&live, live.plugin.observe(state, batch)),
            Err(failure) => Called {
                result: Err(failure),
                fuel: 0,
                strike: false,
                lines: (0, 0),
            },
        }
    }

    /// Makes an instance of a plugin as every call does and drops it, for measuring what that
    /// costs.
    ///
    /// # Errors
    /// As a call.
    pub fn instantiate(&self, name: &str) -> Result<(), CallFailure> {
        let live = self.find(name)?;
        self.settle(&live, live.plugin.instantiate()).result
    }

    fn find(&self, name: &str) -> Result<Arc<Live>, CallFailure> {
        let snapshot = self.shared.snapshot.load();
        let live = snapshot
            .entries
            .get(name)
            .and_then(|entry| entry.live.clone());
        callable(live, || {
            format!("there is no live plugin {name}; see `grace plugin list`")
        })
    }

    fn find_action(&self, name: &str) -> Result<(Arc<Live>, ActionInfo), CallFailure> {
        let snapshot = self.shared.snapshot.load();
        let found = snapshot.actions.get(name).cloned();
        let (live, info) = found.map_or((None, None), |(live, info)| (Some(live), Some(info)));
        let live = callable(live, || {
            format!("no live plugin offers action {name}; see `grace plugin list`")
        })?;
        info.map(|info| (live, info))
            .ok_or_else(|| CallFailure::NotCallable(format!("no live plugin offers action {name}")))
    }

    /// Counts a call and disables a plugin that failed too often.
    fn settle<T>(&self, live: &Live, called: Called<T>) -> Called<T> {
        live.calls.fetch_add(1, Ordering::Relaxed);
        let failure = match &called.result {
            Ok(_) => {
                live.row.store(0, Ordering::Relaxed);
                return called;
            }
            Err(CallFailure::NotCallable(_)) => return called,
            Err(failure) => failure,
        };
        live.failures.fetch_add(1, Ordering::Relaxed);
        if matches!(failure, CallFailure::Plugin(_)) {
            live.row.store(0, Ordering::Relaxed);
            return called;
        }
        let plugin = &*live.plugin.name;
        tracing::warn!(plugin, "{failure}");
        if !called.strike {
            return called;
        }
        let row = live.row.fetch_add(1, Ordering::Relaxed) + 1;
        if row >= self.strikes {
            let (limits, world) = (&live.plugin.limits, live.plugin.world);
            let more = limits::remedy(failure, limits, world)
                .map_or_else(String::new, |more| format!("{more}; "));
            let remedy = if live.plugin.shipped {
                format!(
                    "it is tried again when the healer restarts, or put a corrected {plugin}.wasm and {plugin}.toml into {}",
                    self.dir
                )
            } else {
                "replace or touch it (or its manifest) to load it again".to_owned()
            };
            let why = format!(
                "{}: disabled after {row} failures in a row, the last: {failure}; {more}{remedy}",
                live.plugin.origin
            );
            if live.disabled.set(why.clone()).is_ok() {
                tracing::error!(plugin, "{why}");
                self.shared.generation.fetch_add(1, Ordering::Release);
            }
        }
        called
    }
}

fn callable(
    live: Option<Arc<Live>>,
    missing: impl FnOnce() -> String,
) -> Result<Arc<Live>, CallFailure> {
    let live = live.ok_or_else(|| CallFailure::NotCallable(missing()))?;
    match live.disabled.get() {
        Some(why) => Err(CallFailure::NotCallable(why.clone())),
        None => Ok(live),
    }
}

/// Checks parameters against what `describe` said of them.
fn check_params(info: &ActionInfo, call: &ActionCall) -> Result<(), CallFailure> {
    let wrong = |why: String| {
        Err(CallFailure::Plugin(PluginError::InvalidInput(format!(
            "{}: {why}",
            info.name
        ))))
    };
    for (place, field) in call.params.iter().enumerate() {
        let Some(param) = info.params.iter().find(|param| param.name == field.name) else {
            let known: Vec<&str> = info
                .params
                .iter()
                .map(|param| param.name.as_str())
                .collect();
            return wrong(format!(
                "it has no parameter {}; it has {}",
                field.name,
                known.join(", ")
            ));
        };
        if call
            .params
            .iter()
            .take(place)
            .any(|other| other.name == field.name)
        {
            return wrong(format!("parameter {} is given twice", field.name));
        }
        let fits = match (param.kind, &field.value) {
            (ParamType::Text | ParamType::Target, Value::Text(_))
            | (ParamType::Integer, Value::Integer(_))
            | (ParamType::Flag, Value::Flag(_)) => true,
            (ParamType::Duration, Value::Integer(ms)) => *ms >= 0,
            _ => false,
        };
        if !fits {
            let kind = format!("{:?}", param.kind).to_lowercase();
            return wrong(format!(
                "parameter {} = {:?} is no {kind}",
                field.name,
                field.value.to_string()
            ));
        }
    }
    let missing = info
        .params
        .iter()
        .find(|param| param.required && !call.params.iter().any(|field| field.name == param.name));
    match missing {
        Some(param) => wrong(format!("parameter {} is missing", param.name)),
        None => Ok(()),
    }
}

impl PluginHost for Registry {
    fn list(&self) -> Vec<PluginView> {
        let snapshot = self.shared.snapshot.load();
        snapshot
            .entries
            .iter()
            .map(|(name, entry)| entry.view(name))
            .collect()
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    fn detectors(&self) -> Vec<DetectorView> {
        let snapshot = self.shared.snapshot.load();
        snapshot
            .entries
            .iter()
            .filter_map(|(name, entry)| Some((name, entry.live.as_ref()?)))
            .filter(|(_, live)| live.plugin.world == World::Detector && live.callable())
            .map(|(name, live)| DetectorView {
                name: name.clone(),
                events: live.plugin.granted.contains(&Capability::EventsRead),
                metrics: live.plugin.granted.contains(&Capability::MetricsRead),
            })
            .collect()
    }

    fn observe(
        &self,
        detector: &str,
        state: &[u8],
        batch: &Batch,
    ) -> Result<Observed, CallFailure> {
        self.observe_counted(detector, state, batch).result
    }

    fn actions(&self) -> Vec<ActionInfo> {
        let snapshot = self.shared.snapshot.load();
        snapshot
            .actions
            .values()
            .filter(|(live, _)| live.callable())
            .map(|(_, info)| info.clone())
            .collect()
    }

    fn plan(&self, call: &ActionCall, port: Box<dyn HostPort>) -> Result<Vec<String>, CallFailure> {
        let (live, info) = self.find_action(&call.action)?;
        check_params(&info, call)?;
        self.settle(&live, live.plugin.plan(call, port)).result
    }

    fn run(
        &self,
        call: &ActionCall,
        port: Box<dyn HostPort>,
        timeout: Duration,
    ) -> Result<Receipt, CallFailure> {
        let (live, info) = self.find_action(&call.action)?;
        check_params(&info, call)?;
        self.settle(&live, live.plugin.run(call, port, timeout))
            .result
    }

    fn undo(
        &self,
        action: &str,
        receipt: &Receipt,
        port: Box<dyn HostPort>,
        timeout: Duration,
    ) -> Result<(), CallFailure> {
        let (live, _) = self.find_action(action)?;
        self.settle(&live, live.plugin.undo(action, receipt, port, timeout))
            .result
    }
}
