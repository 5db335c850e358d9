//! Components that a Python and a JavaScript toolchain make of `plugins/languages`: accepted
//! without a grant, and the same in every call. `.ci/run` installs the toolchains.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grace_model::plugin::{ActionCall, Batch, Field, Finding, Observation, PluginError, Value};
use grace_model::port::{CallFailure, HostAnswer, PluginHost};
use grace_model::status::PluginState;
use grace_wasm::Registry;

use crate::world::{DETECTOR, Recorder, Yard, patiently, refused, seen, view};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository is there")
}

/// Where `.ci/run` puts the toolchains, and where what they made is kept for the next run.
fn tools() -> PathBuf {
    root().join("target/tools")
}

/// A component of `plugins/languages`, made by its toolchain.
struct Guest {
    /// Its source, below `plugins/languages`.
    source: &'static str,
    /// The world it is built for.
    world: &'static str,
    /// Its own WIT, beside the source, that names the world.
    own_wit: Option<&'static str>,
}

const PYTHON: Guest = Guest {
    source: "python/detector.py",
    world: "detector",
    own_wit: None,
};
const PYTHON_PACK: Guest = Guest {
    source: "python/actions.py",
    world: "pack",
    own_wit: Some("python/pack.wit"),
};
const JAVASCRIPT: Guest = Guest {
    source: "javascript/detector.js",
    world: "detector",
    own_wit: None,
};

/// One toolchain at a time: each takes a processor and half a gibibyte for some ten seconds.
static BUILDING: Mutex<()> = Mutex::new(());

impl Guest {
    /// The component; none after writing down that `test` did not run.
    fn build(&self, test: &str) -> Option<Vec<u8>> {
        let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let python = self.source.starts_with("python/");
        let (tool, how) = if python {
            (
                tools().join("python/bin/componentize-py"),
                "python3 -m venv target/tools/python && target/tools/python/bin/pip install componentize-py==0.25.1",
            )
        } else {
            (
                tools().join("javascript/node_modules/@bytecodealliance/componentize-js"),
                "npm install --prefix target/tools/javascript @bytecodealliance/componentize-js@0.23.0",
            )
        };
        if !tool.exists() {
            grace_needs::not_run(
                test,
                &format!("{} is missing; get it by: {how}", tool.display()),
            );
            return None;
        }
        let sources = root().join("plugins/languages");
        let kept = self.kept(&sources);
        if let Ok(bytes) = std::fs::read(&kept) {
            return Some(bytes);
        }
        let room = tempfile::tempdir().expect("a temporary directory");
        let wit = self.wit(&sources, room.path());
        let out = room.path().join("out.wasm");
        let mut command = if python {
            let mut command = Command::new(tool);
            command.args(["-q", "-d"]).arg(&wit);
            command.args(["-w", self.world, "componentize"]);
            command.arg(Path::new(self.source).file_stem().expect("a name"));
            // It leaves byte code beside what it reads.
            let copy = room.path().join("source");
            std::fs::create_dir(&copy).expect("a folder");
            let name = Path::new(self.source).file_name().expect("a name");
            std::fs::copy(sources.join(self.source), copy.join(name)).expect("copied");
            command.arg("-p").arg(copy);
            command.arg("-o").arg(&out);
            command
        } else {
            // Node looks for packages beside the script.
            let script = tools().join("javascript/build.mjs");
            std::fs::copy(sources.join("javascript/build.mjs"), &script).expect("copied");
            let mut command = Command::new("node");
            command.arg(script).arg(sources.join(self.source));
            command.arg(&wit).arg(self.world).arg(&out);
            command.current_dir(tools().join("javascript"));
            command
        };
        let output = command.output().expect("the toolchain starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", self.source);
        let bytes = std::fs::read(&out).expect("a component");
        std::fs::create_dir_all(kept.parent().expect("a folder")).expect("a folder");
        let new = kept.with_extension(format!("new-{}", std::process::id()));
        std::fs::write(&new, &bytes).expect("kept");
        std::fs::rename(&new, &kept).expect("kept");
        Some(bytes)
    }

    /// Where the component is kept: named after all that it is made of.
    fn kept(&self, sources: &Path) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        let mut add = |file: PathBuf| {
            hasher.update(&std::fs::read(file).expect("a source"));
        };
        add(sources.join(self.source));
        add(sources.join("javascript/build.mjs"));
        for file in ["types.wit", "host.wit", "worlds.wit"] {
            add(root().join("wit").join(file));
        }
        if let Some(own) = self.own_wit {
            add(sources.join(own));
        }
        let hash = hasher.finalize().to_hex();
        tools().join(format!("guests/{hash}.wasm"))
    }

    /// The folder with the world's WIT.
    fn wit(&self, sources: &Path, room: &Path) -> PathBuf {
        let Some(own) = self.own_wit else {
            return root().join("wit");
        };
        let wit = room.join("wit");
        let deps = wit.join("deps/grace");
        std::fs::create_dir_all(&deps).expect("a folder");
        std::fs::copy(sources.join(own), wit.join("pack.wit")).expect("copied");
        for file in ["types.wit", "host.wit", "worlds.wit"] {
            std::fs::copy(root().join("wit").join(file), deps.join(file)).expect("copied");
        }
        wit
    }
}

/// Starts a registry that keeps compiled code for the next run, since an interpreter takes long.
fn start(yard: &Yard) -> Arc<Registry> {
    let mut settings = yard.settings();
    settings.compiled_dir = tools().join("compiled");
    // Who comes second finds what the first has compiled.
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    Registry::start(settings).expect("a registry")
}

fn live(yard: &Yard, wasm: &[u8], manifest: &str) -> Arc<Registry> {
    yard.put("it", wasm, manifest);
    let registry = start(yard);
    let view = view(&registry, "it");
    assert_eq!(view.state, PluginState::Live, "{:?}", view.error);
    registry
}

fn batch() -> Batch {
    Batch {
        now: 1_700_000_000_123,
        observations: vec![Observation {
            at: 1_700_000_000_000,
            target: "shop-1".to_owned(),
            kind: "instance.probe".to_owned(),
            fields: vec![Field::new("ok", false), Field::new("status", 503_u64)],
        }],
    }
}

fn evidence(finding: &Finding, name: &str) -> Option<Value> {
    let field = finding.evidence.iter().find(|field| field.name == name);
    field.map(|field| field.value.clone())
}

/// What every interpreted detector must do: run without a grant, keep its memory, and be the
/// same twice, to the unit of fuel and also in another host.
fn a_detector_is_accepted_and_pure(wasm: &[u8]) -> serde_json::Value {
    let yard = Yard::new();
    let registry = live(&yard, wasm, &format!("{DETECTOR}[config]\nmode = \"x\"\n"));
    assert!(view(&registry, "it").granted.is_empty());
    let call = |registry: &Registry, state: &[u8]| {
        let fuel = Cell::new(0);
        let observed = patiently(|| {
            let called = registry.observe_counted("it", state, &batch());
            fuel.set(called.fuel);
            called.result
        });
        (observed.expect("an answer"), fuel.get())
    };
    let (first, fuel) = call(&registry, &[]);
    assert_eq!((first.clone(), fuel), call(&registry, &[]));
    let other = Yard::new();
    let elsewhere = live(&other, wasm, &format!("{DETECTOR}[config]\nmode = \"x\"\n"));
    assert_eq!((first.clone(), fuel), call(&elsewhere, &[]));
    let found = &first.findings[0];
    assert_eq!(
        (found.kind.as_str(), found.target.as_str()),
        ("probe-failed", "shop-1")
    );
    assert_eq!(evidence(found, "calls"), Some(Value::from(1_u64)));
    assert_eq!(evidence(found, "mode"), Some(Value::from("x")));
    let (second, _) = call(&registry, &first.state);
    assert_eq!(
        evidence(&second.findings[0], "calls"),
        Some(Value::from(2_u64))
    );
    // The same files touched, and replaced by others: hot reload.
    yard.put("it", wasm, &format!("{DETECTOR}[config]\nmode = \"y\"\n"));
    registry.rescan();
    let (reloaded, _) = call(&registry, &first.state);
    assert_eq!(
        evidence(&reloaded.findings[0], "mode"),
        Some(Value::from("y"))
    );
    let told: serde_json::Value = serde_json::from_str(&found.summary).expect("JSON");
    assert_eq!(told["clock_ms"], 1_700_000_000_123_u64, "{told}");
    told
}

/// Its own errors and its deaths are told apart.
fn errors_are_told_apart(wasm: &[u8]) {
    let verdict = |mode: &str| {
        let yard = Yard::new();
        let manifest = format!("{DETECTOR}[config]\nmode = \"{mode}\"\n");
        let registry = live(&yard, wasm, &manifest);
        patiently(|| registry.observe("it", &[], &seen())).expect_err(mode)
    };
    assert_eq!(
        verdict("polite"),
        CallFailure::Plugin(PluginError::Unavailable("not now".to_owned()))
    );
    let CallFailure::Trap(why) = verdict("fail") else {
        panic!("an exception is a trap")
    };
    assert!(why.contains("as it was told"), "{why}");
}

#[test]
fn a_python_detector_runs_without_a_grant_and_sees_the_same_world_each_time() {
    let test = "a_python_detector_runs_without_a_grant_and_sees_the_same_world_each_time";
    let Some(wasm) = PYTHON.build(test) else {
        return;
    };
    let told = a_detector_is_accepted_and_pure(&wasm);
    assert_eq!(told["variables"], 0, "{told}");
    assert_eq!(told["stdin"], "", "{told}");
    assert_eq!(told["network"], "closed", "{told}");
    errors_are_told_apart(&wasm);
}

/// A plugin that finds too little memory is told what to write, and that works.
#[test]
fn too_little_memory_for_python_is_refused_with_what_to_write_into_the_manifest() {
    let test = "too_little_memory_for_python_is_refused_with_what_to_write_into_the_manifest";
    let Some(wasm) = PYTHON.build(test) else {
        return;
    };
    let yard = Yard::new();
    let with = |memory: &str| format!("{DETECTOR}[limits]\nmemory = \"{memory}\"\n");
    yard.put("it", &wasm, &with("8MiB"));
    let registry = start(&yard);
    let words = ["it.wasm", "8388608 bytes of memory", "memory = \"128MiB\""];
    refused(&registry, "it", PluginState::Refused, &words);
    yard.put("it", &wasm, &with("128MiB"));
    registry.rescan();
    assert_eq!(view(&registry, "it").state, PluginState::Live);
    let observed = patiently(|| registry.observe("it", &[], &seen())).expect("an answer");
    assert_eq!(observed.findings.len(), 1);
}

#[test]
fn a_python_detector_that_leaves_or_grows_is_stopped() {
    let test = "a_python_detector_that_leaves_or_grows_is_stopped";
    let Some(wasm) = PYTHON.build(test) else {
        return;
    };
    for (mode, what) in [("exit", "exit"), ("grow", "memory")] {
        let yard = Yard::new();
        let manifest = format!("{DETECTOR}[config]\nmode = \"{mode}\"\n");
        let registry = live(&yard, &wasm, &manifest);
        let failure = patiently(|| registry.observe("it", &[], &seen())).expect_err(mode);
        assert!(failure.to_string().contains(what), "{mode}: {failure}");
    }
}

#[test]
fn a_python_pack_describes_plans_and_runs_with_what_it_was_granted() {
    let test = "a_python_pack_describes_plans_and_runs_with_what_it_was_granted";
    let Some(wasm) = PYTHON_PACK.build(test) else {
        return;
    };
    let yard = Yard::new();
    yard.grants("it = [\"fleet:read\"]\n");
    let manifest = "api = \"0.1\"\nworld = \"action\"\nwants = [\"fleet:read\"]\n";
    let registry = live(&yard, &wasm, manifest);
    let call = ActionCall {
        action: "python.count".to_owned(),
        params: vec![Field::new("service", "shop")],
        incident: "inc-1".to_owned(),
    };
    let port = || {
        let answer = HostAnswer::Instances {
            instances: Vec::new(),
        };
        Box::new(Recorder::answering(Ok(answer)))
    };
    assert_eq!(
        registry.plan(&call, port()),
        Ok(vec!["look at shop".to_owned()])
    );
    let receipt = registry
        .run(&call, port(), Duration::from_secs(20))
        .expect("a receipt");
    assert_eq!(receipt.outputs, [Field::new("instances", 0_u64)]);
}

#[test]
fn a_javascript_detector_runs_without_a_grant_and_sees_the_same_world_each_time() {
    let test = "a_javascript_detector_runs_without_a_grant_and_sees_the_same_world_each_time";
    let Some(wasm) = JAVASCRIPT.build(test) else {
        return;
    };
    let told = a_detector_is_accepted_and_pure(&wasm);
    assert!(told["random"].as_f64().is_some(), "{told}");
    errors_are_told_apart(&wasm);
}
