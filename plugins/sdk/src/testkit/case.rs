//! Manifests and case files: the same `cases/*.json` that `grace plugin test` runs through the
//! host. It must not know any detector.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Bench, fake};
use crate::detector::Detector;
use crate::{Field, Finding, Observation, Value};

/// What of a manifest the test kit looks at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of `grace:plugin`.
    pub api: String,
    /// `detector` or `action`.
    pub world: String,
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// Capabilities it asks for.
    #[serde(default)]
    pub wants: Vec<String>,
    /// Limits below the world's.
    #[serde(default)]
    pub limits: BTreeMap<String, toml::Value>,
    /// Its settings.
    #[serde(default)]
    pub config: BTreeMap<String, toml::Value>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Panics
    /// When it is no manifest.
    #[allow(clippy::panic, reason = "this is for tests")]
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = read(path);
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Its settings as the plugin gets them.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.config
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    }
}

/// Checks that `plugin.toml` under `folder` is a detector's manifest and lists every setting
/// that the detector asks for, with the default that the code has.
///
/// # Panics
/// When it does not.
#[allow(clippy::panic, reason = "this is for tests")]
pub fn check_manifest<D: Detector>(folder: &str) {
    let path = Path::new(folder).join("plugin.toml");
    let manifest = Manifest::read(&path);
    assert_eq!(manifest.api, "0.1", "{}", path.display());
    assert_eq!(manifest.world, "detector", "{}", path.display());
    Bench::<D>::new().observe(1, []);
    let asked = fake::world(|world| world.asked.clone());
    assert_eq!(
        manifest.settings(),
        asked,
        "{}: left is [config], right what the code asks for with its defaults",
        path.display()
    );
}

/// Runs every `cases/*.json` under `folder`, with the settings of its `plugin.toml`.
///
/// # Panics
/// When there is no case, or one does not come out as it says.
#[allow(clippy::panic, reason = "this is for tests")]
pub fn check_cases<D: Detector>(folder: &str) {
    let folder = Path::new(folder);
    let settings = Manifest::read(&folder.join("plugin.toml")).settings();
    let cases = folder.join("cases");
    let entries =
        std::fs::read_dir(&cases).unwrap_or_else(|error| panic!("{}: {error}", cases.display()));
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    assert!(!paths.is_empty(), "{} has no case", cases.display());
    for path in paths {
        run::<D>(&path, &settings);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    config: BTreeMap<String, String>,
    batches: Vec<CaseBatch>,
    expect: Vec<Vec<Expected>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseBatch {
    now: u64,
    observations: Vec<CaseObservation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseObservation {
    at: u64,
    target: String,
    kind: String,
    fields: Vec<CaseField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseField {
    name: String,
    value: CaseValue,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CaseValue {
    Flag(bool),
    Integer(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    kind: String,
    target: Option<String>,
    severity: Option<String>,
    cause: Option<String>,
}

impl Expected {
    fn is_met_by(&self, finding: &Finding) -> bool {
        self.kind == finding.kind
            && self
                .target
                .as_deref()
                .is_none_or(|wanted| wanted == finding.target)
            && self
                .severity
                .as_deref()
                .is_none_or(|wanted| wanted == finding.severity.word())
            && self
                .cause
                .as_deref()
                .is_none_or(|wanted| wanted == finding.cause)
    }
}

impl From<CaseObservation> for Observation {
    fn from(case: CaseObservation) -> Self {
        let fields = case.fields.into_iter().map(|field| Field {
            name: field.name,
            value: match field.value {
                CaseValue::Flag(flag) => Value::Flag(flag),
                CaseValue::Integer(number) => Value::Integer(number),
                CaseValue::Text(text) => Value::Text(text),
            },
        });
        Observation {
            at: case.at,
            target: case.target,
            kind: case.kind,
            fields: fields.collect(),
        }
    }
}

#[allow(clippy::panic, reason = "this is for tests")]
fn run<D: Detector>(path: &Path, settings: &BTreeMap<String, String>) {
    let name = path.display();
    let case: Case =
        serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        case.batches.len(),
        case.expect.len(),
        "{name}: one list in expect a batch"
    );
    let mut bench = Bench::<D>::new();
    fake::world(|world| {
        world.settings.clone_from(settings);
        world.settings.extend(case.config);
    });
    for (number, (batch, expected)) in case.batches.into_iter().zip(&case.expect).enumerate() {
        let observations = batch.observations.into_iter().map(Observation::from);
        let findings = bench.observe(batch.now, observations);
        let mut open: Vec<&Finding> = findings.iter().collect();
        let all = expected.iter().all(|wanted| {
            let place = open.iter().position(|found| wanted.is_met_by(found));
            place.is_some_and(|place| {
                open.swap_remove(place);
                true
            })
        });
        let met = all && open.is_empty();
        assert!(
            met,
            "{name}, batch {number}: expected {expected:#?}, found {findings:#?}"
        );
    }
}

#[allow(clippy::panic, reason = "this is for tests")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
