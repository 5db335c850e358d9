//! What crosses the border to plugins, as plain Rust: the twin of `wit/types.wit` and
//! `wit/worlds.wit`. The `wasm` crate converts; everybody else sees only these.

use serde::{Deserialize, Serialize};

use crate::TimestampMs;

/// A value in an observation, a parameter or an output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Integer(i64::from(number))
    }
}
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

/// One named value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Lower-case words joined by `_`.
    pub name: String,
    /// The value.
    pub value: Value,
}

impl Field {
    /// A named value.
    pub fn new(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// Something the host saw. Kinds and fields: `wit/README.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When.
    pub at: TimestampMs,
    /// Of what.
    pub target: String,
    /// Which shape `fields` has.
    pub kind: String,
    /// What was seen.
    pub fields: Vec<Field>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A nuisance.
    Minor,
    /// Worth healing.
    Moderate,
    /// Users may notice.
    Major,
    /// Users notice.
    Critical,
}

/// One detector's claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What playbooks trigger on.
    pub kind: String,
    /// Instance or service.
    pub target: String,
    /// How bad.
    pub severity: Severity,
    /// 0 to 1000.
    pub confidence_permille: u16,
    /// For a person.
    pub summary: String,
    /// Stable core, for the signature.
    pub cause: String,
    /// For `${finding.evidence.NAME}`.
    pub evidence: Vec<Field>,
}

/// Observations for one call of a detector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The time to judge by.
    pub now: TimestampMs,
    /// What was seen since the last batch; may be empty.
    pub observations: Vec<Observation>,
}

/// A detector's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// For the next call.
    pub state: Vec<u8>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// How much an operator wants to be asked before an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Reads only.
    None,
    /// Loses nothing.
    Low,
    /// Can be put back.
    Medium,
    /// May lose something.
    High,
}

/// What a parameter must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Flag,
    /// An instance or a service.
    Target,
    /// A time such as `5s`; the plugin gets milliseconds.
    Duration,
}

/// One parameter of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// What it must be.
    pub kind: ParamType,
    /// Whether it must be given.
    pub required: bool,
    /// What it does.
    pub summary: String,
}

/// What an action says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionInfo {
    /// `pack.verb`.
    pub name: String,
    /// What it does.
    pub summary: String,
    /// What it takes.
    pub params: Vec<Param>,
    /// What `${step.NAME}` can use.
    pub outputs: Vec<String>,
    /// How risky it is.
    pub risk: Risk,
    /// Whether it can be taken back.
    pub undoable: bool,
}

/// A call of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCall {
    /// `pack.verb`.
    pub action: String,
    /// Checked against [`ActionInfo::params`]; durations are integers in milliseconds.
    pub params: Vec<Field>,
    /// On whose behalf.
    pub incident: String,
}

/// What an action did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether anything is different now.
    pub changed: bool,
    /// For a person.
    pub summary: String,
    /// For `${step.NAME}`.
    pub outputs: Vec<Field>,
    /// What `undo` needs.
    pub undo: Vec<u8>,
}

/// A plugin's own error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "message", rename_all = "kebab-case")]
pub enum PluginError {
    /// The input breaks the contract.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// Not allowed.
    #[error("denied: {0}")]
    Denied(String),
    /// Cannot answer now.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Nothing to do here.
    #[error("not applicable: {0}")]
    NotApplicable(String),
    /// The time is used up.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
