//! What the plugin host adds to bare wasmtime, in microseconds, as one line of JSON: making an
//! instance, and calling a shipped detector. Both run the same component under the same engine
//! settings; bare wasmtime has typed bindings, fuel and an epoch deadline and nothing else.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::plugin::{Batch, Field, Observation};
use grace_model::port::PluginHost;
use grace_wasm::{Builtin, Registry, Settings};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

#[path = "../src/tuning.rs"]
#[allow(
    dead_code,
    reason = "of the engine's settings only the pooled ones are measured"
)]
mod tuning;

#[allow(missing_docs, clippy::all, reason = "generated; documented in wit/")]
mod bare {
    wasmtime::component::bindgen!({ path: "../../wit", world: "detector" });
}

use bare::exports::grace::plugin::detect;
use bare::grace::plugin::{config, log, types};

/// The detector with the most to do in a healthy fleet.
const DETECTOR: &str = "hang";
const INSTANCES: usize = 10;
const FUEL: u64 = 50_000_000;
const ROUNDS: usize = 41;
const CALLS: u32 = 200;

type Failed = Box<dyn Error>;

fn main() -> Result<(), Failed> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/out");
    let file = out.join(DETECTOR);
    let read = |end: &str| {
        let file = file.with_extension(end);
        std::fs::read(&file).map_err(|error| {
            format!(
                "{}: {error}; run `cargo xtask plugins` first",
                file.display()
            )
        })
    };
    let (wasm, manifest) = (read("wasm")?, String::from_utf8(read("toml")?)?);
    let scratch = tempfile::tempdir()?;
    let bare = Bare::new(&wasm, &manifest)?;
    let ours = registry(&wasm, manifest, scratch.path())?;

    let batch = batch();
    let typed = typed(&batch);
    let state = ours.observe(DETECTOR, &[], &batch)?.state;
    let answer = bare.observe(&state, &typed)?;
    let same = ours.observe(DETECTOR, &state, &batch)?;
    if (answer.state, answer.findings.len()) != (same.state, same.findings.len()) {
        return Err("the two do not answer the same, so their times cannot be compared".into());
    }

    let instantiate = compare(
        || Ok(ours.instantiate(DETECTOR)?),
        || bare.instantiate().map(drop),
    )?;
    let call = compare(
        || {
            ours.observe(DETECTOR, &state, &batch)?;
            Ok(())
        },
        || bare.observe(&state, &typed).map(drop),
    )?;
    println!(
        "{}",
        serde_json::json!({
            "instantiate_wasmtime": { "ours": instantiate.0, "wasmtime": instantiate.1 },
            "detector_call_wasmtime": { "ours": call.0, "wasmtime": call.1 },
        })
    );
    Ok(())
}

fn registry(wasm: &[u8], manifest: String, scratch: &Path) -> Result<Arc<Registry>, Failed> {
    Ok(Registry::start(Settings {
        builtin: vec![Builtin {
            name: DETECTOR,
            wasm: Vec::leak(wasm.to_vec()),
            manifest: String::leak(manifest),
            precompiled: None,
        }],
        dir: None,
        grants: BTreeMap::new(),
        grants_file: scratch.join("grants.toml"),
        config: BTreeMap::new(),
        disable: Vec::new(),
        strikes: 3,
        rescan: Duration::from_secs(3_600),
        compiled_dir: scratch.join("compiled"),
        compiled: None,
        watch: false,
    })?)
}

/// The medians of both in microseconds, round by round in turn.
fn compare(
    mut ours: impl FnMut() -> Result<(), Failed>,
    mut bare: impl FnMut() -> Result<(), Failed>,
) -> Result<(f64, f64), Failed> {
    let mut times = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let pair = (mean_us(&mut ours)?, mean_us(&mut bare)?);
        // The first round warms up.
        if round > 0 {
            times.0.push(pair.0);
            times.1.push(pair.1);
        }
    }
    Ok((median(times.0)?, median(times.1)?))
}

fn mean_us(call: &mut impl FnMut() -> Result<(), Failed>) -> Result<f64, Failed> {
    let begun = Instant::now();
    for _ in 0..CALLS {
        call()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS))
}

fn median(mut times: Vec<f64>) -> Result<f64, Failed> {
    times.sort_by(f64::total_cmp);
    Ok(*times.get(times.len() / 2).ok_or("no rounds")?)
}

/// What a healthy fleet of ten gives in one tick: a probe and some traffic of each.
fn batch() -> Batch {
    let mut observations = Vec::new();
    for number in 1..=INSTANCES {
        let mut seen = |kind: &str, fields: &[(&str, i64)]| {
            let mut all = vec![
                Field::new("service", "shop"),
                Field::new("generation", 1_u32),
            ];
            if kind == "instance.probe" {
                all.push(Field::new("ok", true));
                all.push(Field::new("problem", ""));
            }
            all.extend(fields.iter().map(|(name, value)| Field::new(*name, *value)));
            observations.push(Observation {
                at: 1_000_000,
                target: format!("shop-{number}"),
                kind: kind.to_owned(),
                fields: all,
            });
        };
        seen(
            "instance.probe",
            &[
                ("status", 200),
                ("latency_us", 900),
                ("consecutive", 10),
                ("judge_late_ms", 0),
            ],
        );
        seen(
            "instance.traffic",
            &[
                ("window_ms", 250),
                ("requests", 25),
                ("errors", 0),
                ("unanswered", 0),
                ("p50_us", 700),
                ("p99_us", 2_000),
                ("inflight", 1),
            ],
        );
    }
    Batch {
        now: 1_000_000,
        observations,
    }
}

fn typed(batch: &Batch) -> detect::Batch {
    use grace_model::plugin::Value;
    let value = |value: &Value| match value {
        Value::Text(text) => types::Value::Text(text.clone()),
        Value::Integer(number) => types::Value::Integer(*number),
        Value::Flag(flag) => types::Value::Flag(*flag),
    };
    let fields = |seen: &Observation| {
        seen.fields
            .iter()
            .map(|field| types::Field {
                name: field.name.clone(),
                value: value(&field.value),
            })
            .collect()
    };
    detect::Batch {
        now: batch.now,
        observations: batch
            .observations
            .iter()
            .map(|seen| types::Observation {
                at: seen.at,
                target: seen.target.clone(),
                kind: seen.kind.clone(),
                fields: fields(seen),
            })
            .collect(),
    }
}

/// Bare wasmtime.
struct Bare {
    engine: Engine,
    code: bare::DetectorPre<Data>,
    settings: Arc<BTreeMap<String, String>>,
}

/// A store's data: the detector's settings.
struct Data(Arc<BTreeMap<String, String>>);

impl types::Host for Data {}
impl log::Host for Data {
    fn emit(&mut self, _level: log::Level, _message: String) {}
}
impl config::Host for Data {
    fn get(&mut self, key: String) -> Option<String> {
        self.0.get(&key).cloned()
    }
}

impl Bare {
    fn new(wasm: &[u8], manifest: &str) -> Result<Self, Failed> {
        let engine = Engine::new(&tuning::pooled())?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::<Data>::new(&engine);
        bare::Detector::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
        let code = bare::DetectorPre::new(linker.instantiate_pre(&component)?)?;
        let manifest = grace_wasm::read_manifest(Path::new("plugin.toml"), manifest)?;
        let settings = manifest.config.into_iter();
        let settings = settings.map(|(key, value)| (key, value.to_string()));
        Ok(Self {
            engine,
            code,
            settings: Arc::new(settings.collect()),
        })
    }

    fn instantiate(&self) -> Result<(Store<Data>, bare::Detector), Failed> {
        let mut store = Store::new(&self.engine, Data(Arc::clone(&self.settings)));
        store.set_fuel(FUEL)?;
        store.set_epoch_deadline(1);
        let instance = self.code.instantiate(&mut store)?;
        Ok((store, instance))
    }

    fn observe(&self, state: &Vec<u8>, batch: &detect::Batch) -> Result<detect::Observed, Failed> {
        let (mut store, instance) = self.instantiate()?;
        let answer = instance
            .grace_plugin_detect()
            .call_observe(&mut store, state, batch)?;
        Ok(answer.map_err(|error| format!("the detector failed: {error:?}"))?)
    }
}
