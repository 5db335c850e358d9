//! Cases: what `grace plugin test` feeds a detector and what must come out. A case is a JSON
//! file, `cases/NAME.json`:
//!
//! ```json
//! {
//!   "config": { "threshold": "3" },
//!   "batches": [ { "now": 1000, "observations": [] } ],
//!   "expect": [ [ { "kind": "instance-crash", "target": "shop-1" } ] ]
//! }
//! ```
//!
//! `expect` has one list a batch: exactly these findings, in any order, compared by the fields
//! that are given. State is carried from batch to batch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grace_model::manifest::World;
use grace_model::plugin::{Batch, Finding, Severity};
use serde::{Deserialize, Serialize};

use crate::inspect::load_with;
use crate::load::LoadError;

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Settings over the manifest's.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// What is fed, in order.
    pub batches: Vec<Batch>,
    /// What must come out of each batch.
    pub expect: Vec<Vec<Expected>>,
}

/// A finding that must come out. What is left out may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its kind.
    pub kind: String,
    /// Its target.
    pub target: Option<String>,
    /// Its severity.
    pub severity: Option<Severity>,
    /// Its cause.
    pub cause: Option<String>,
}

impl Expected {
    fn fits(&self, finding: &Finding) -> bool {
        self.kind == finding.kind
            && self
                .target
                .as_ref()
                .is_none_or(|target| *target == finding.target)
            && self
                .severity
                .is_none_or(|severity| severity == finding.severity)
            && self
                .cause
                .as_ref()
                .is_none_or(|cause| *cause == finding.cause)
    }
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Its file.
    pub file: PathBuf,
    /// Fuel of all its calls.
    pub fuel: u64,
    /// What was wrong; none when it passed.
    pub problem: Option<String>,
}

/// Runs every `*.json` of `folder` against the detector `wasm`, in the order of their names.
///
/// # Errors
/// When the plugin does not load, is no detector, or the folder has no case: a plugin without
/// cases has not passed them.
pub fn run_cases(wasm: &Path, folder: &Path) -> Result<Vec<CaseReport>, LoadError> {
    let unreadable = |error: std::io::Error| {
        LoadError::refused(
            folder,
            format!("it cannot be read: {error}"),
            "make a folder `cases`",
        )
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(LoadError::refused(
            folder,
            "it has no case",
            "write one, such as {\"batches\": [{\"now\": 0, \"observations\": []}], \"expect\": [[]]}",
        ));
    }
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        let (fuel, problem) = match run_case(wasm, &file)? {
            Ok(fuel) => (fuel, None),
            Err((fuel, problem)) => (fuel, Some(problem)),
        };
        reports.push(CaseReport {
            file,
            fuel,
            problem,
        });
    }
    Ok(reports)
}

/// Fuel; and, when the case failed, why.
type Ran = Result<u64, (u64, String)>;

fn run_case(wasm: &Path, file: &Path) -> Result<Ran, LoadError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Ok(Err((0, format!("cannot be read: {error}")))),
    };
    let case: Case = match serde_json::from_str(&text) {
        Ok(case) => case,
        Err(error) => return Ok(Err((0, format!("is no case: {error}")))),
    };
    if case.batches.len() != case.expect.len() {
        return Ok(Err((
            0,
            format!(
                "has {} batches and {} lists in `expect`; each batch needs one",
                case.batches.len(),
                case.expect.len()
            ),
        )));
    }
    let config: Vec<(String, String)> = case.config.clone().into_iter().collect();
    let plugin = load_with(wasm, &config)?;
    if plugin.world != World::Detector {
        return Err(LoadError::refused(
            wasm,
            "cases are for detectors, and it is an action pack",
            "test an action pack with the SDK's test kit",
        ));
    }
    let (mut state, mut fuel) = (Vec::new(), 0);
    for (place, (batch, expected)) in case.batches.iter().zip(&case.expect).enumerate() {
        let called = plugin.observe(&state, batch);
        fuel += called.fuel;
        let observed = match called.result {
            Ok(observed) => observed,
            Err(failure) => return Ok(Err((fuel, format!("batch {}: {failure}", place + 1)))),
        };
        if let Some(problem) = compare(expected, &observed.findings) {
            return Ok(Err((fuel, format!("batch {}: {problem}", place + 1))));
        }
        state = observed.state;
    }
    Ok(Ok(fuel))
}

/// What is missing or too much. Each finding answers one expectation.
fn compare(expected: &[Expected], findings: &[Finding]) -> Option<String> {
    let mut left: Vec<&Finding> = findings.iter().collect();
    for one in expected {
        match left.iter().position(|finding| one.fits(finding)) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => {
                return Some(format!(
                    "no finding {} of {}; there are {}",
                    one.kind,
                    one.target.as_deref().unwrap_or("any target"),
                    shown(findings)
                ));
            }
        }
    }
    (!left.is_empty()).then(|| {
        let more: Vec<Finding> = left.into_iter().cloned().collect();
        format!("findings that were not expected: {}", shown(&more))
    })
}

fn shown(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "none".to_owned();
    }
    let each: Vec<String> = findings
        .iter()
        .map(|finding| {
            format!(
                "{} of {} ({})",
                finding.kind, finding.target, finding.summary
            )
        })
        .collect();
    each.join(", ")
}
