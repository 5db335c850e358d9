//! A registry over a temporary directory, and a port that records what it is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use grace_model::plugin::{Batch, Observation, PluginError};
use grace_model::port::{CallFailure, HostAnswer, HostCall, HostPort, PluginHost};
use grace_model::status::{PluginState, PluginView};
use grace_wasm::{Registry, Settings};
use tempfile::TempDir;

/// A manifest of a detector that asks for nothing.
pub const DETECTOR: &str = "api = \"0.1\"\nworld = \"detector\"\n";
/// A manifest of an action pack that asks for nothing.
pub const ACTION: &str = "api = \"0.1\"\nworld = \"action\"\n";

/// A directory with plugins in it.
pub struct Yard {
    pub root: TempDir,
}

impl Yard {
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join("plugins.d")).expect("a directory");
        Self { root }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            builtin: Vec::new(),
            dir: Some(self.root.path().join("plugins.d")),
            grants: BTreeMap::new(),
            grants_file: self.root.path().join("grants.toml"),
            config: BTreeMap::new(),
            disable: Vec::new(),
            strikes: 3,
            rescan: Duration::from_secs(3600),
            compiled_dir: self.root.path().join("compiled"),
            compiled: None,
            watch: false,
        }
    }

    pub fn start(&self) -> Arc<Registry> {
        Registry::start(self.settings()).expect("a registry")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("plugins.d").join(name)
    }

    /// Puts a plugin into the directory.
    pub fn put(&self, name: &str, wasm: &[u8], manifest: &str) {
        std::fs::write(self.file(&format!("{name}.wasm")), wasm).expect("written");
        std::fs::write(self.file(&format!("{name}.toml")), manifest).expect("written");
    }

    pub fn grants(&self, text: &str) {
        std::fs::write(self.root.path().join("grants.toml"), text).expect("written");
    }
}

/// What the registry says of `name`.
pub fn view(registry: &Registry, name: &str) -> PluginView {
    let found = registry.list().into_iter().find(|view| view.name == name);
    found.unwrap_or_else(|| panic!("{name} is not listed"))
}

/// Asserts state and words of the error.
pub fn refused(registry: &Registry, name: &str, state: PluginState, words: &[&str]) {
    let view = view(registry, name);
    let error = view.error.unwrap_or_default();
    assert_eq!(view.state, state, "{error}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

/// Makes a call again while it only failed because the machine was too busy for its deadline.
pub fn patiently<T>(call: impl Fn() -> Result<T, CallFailure>) -> Result<T, CallFailure> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        match call() {
            Err(CallFailure::Deadline(_)) if Instant::now() < limit => {}
            other => return other,
        }
    }
}

/// A batch with one observation.
pub fn seen() -> Batch {
    Batch {
        now: 1_000,
        observations: vec![Observation {
            at: 1_000,
            target: "shop-1".to_owned(),
            kind: "instance.exited".to_owned(),
            fields: Vec::new(),
        }],
    }
}

/// Waits until `good`, for at most twenty seconds.
pub fn until(what: &str, good: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !good() {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Answers every call with `answer` and records it with its budget.
#[derive(Clone)]
pub struct Recorder {
    pub calls: Arc<Mutex<Vec<(HostCall, Duration)>>>,
    answer: Result<HostAnswer, PluginError>,
}

impl Recorder {
    pub fn answering(answer: Result<HostAnswer, PluginError>) -> Self {
        Self {
            calls: Arc::default(),
            answer,
        }
    }
    pub fn count(&self) -> usize {
        self.calls.lock().expect("not poisoned").len()
    }
}

impl HostPort for Recorder {
    fn call(&mut self, call: HostCall, budget: Duration) -> Result<HostAnswer, PluginError> {
        self.calls
            .lock()
            .expect("not poisoned")
            .push((call, budget));
        self.answer.clone()
    }
}
