//! Reading and making named values: observations, parameters, findings. It must not know what
//! any of them mean.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::action::Call;
use crate::{Field, Finding, Observation, PluginError, Result, Severity, Value};

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
        Value::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

/// Something with named values.
pub trait Named {
    /// All of them.
    fn fields(&self) -> &[Field];

    /// The value of that name.
    fn value(&self, name: &str) -> Option<&Value> {
        self.fields()
            .iter()
            .find(|field| field.name == name)
            .map(|field| &field.value)
    }

    /// The text of that name; none when it is missing or no text.
    fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer of that name; none when it is missing or no integer.
    fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The count of that name: 0 when it is missing, no integer or below 0.
    fn count(&self, name: &str) -> u64 {
        self.integer(name)
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or(0)
    }

    /// The flag of that name; none when it is missing or no flag.
    fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl Named for Observation {
    fn fields(&self) -> &[Field] {
        &self.fields
    }
}

impl Named for Call {
    fn fields(&self) -> &[Field] {
        &self.params
    }
}

impl Named for Finding {
    fn fields(&self) -> &[Field] {
        &self.evidence
    }
}

impl Named for [Field] {
    fn fields(&self) -> &[Field] {
        self
    }
}

impl Call {
    /// A text or target parameter.
    ///
    /// # Errors
    /// It is missing or no text.
    pub fn need_text(&self, name: &str) -> Result<&str> {
        match self.text(name) {
            Some("") | None => Err(PluginError::InvalidInput(alloc::format!(
                "{} needs the parameter {name:?} as text",
                self.action
            ))),
            Some(text) => Ok(text),
        }
    }

    /// An integer or duration parameter, 0 or more.
    ///
    /// # Errors
    /// It is missing, no integer, or does not fit.
    pub fn need_count(&self, name: &str) -> Result<u32> {
        self.maybe_count(name)?.ok_or_else(|| {
            PluginError::InvalidInput(alloc::format!(
                "{} needs the parameter {name:?} as a whole number",
                self.action
            ))
        })
    }

    /// An integer or duration parameter that may be left out.
    ///
    /// # Errors
    /// It is given and no integer, or does not fit.
    pub fn maybe_count(&self, name: &str) -> Result<Option<u32>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Integer(number)) => u32::try_from(*number).map(Some).map_err(|_| {
                PluginError::InvalidInput(alloc::format!(
                    "{}: {name} must be 0 to {}, not {number}",
                    self.action,
                    u32::MAX
                ))
            }),
            Some(_) => Err(PluginError::InvalidInput(alloc::format!(
                "{}: {name} must be a whole number",
                self.action
            ))),
        }
    }

    /// The reason given, or one that names the incident.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.text("reason") {
            Some(reason) if !reason.is_empty() => reason.to_string(),
            _ if self.incident.is_empty() => self.action.clone(),
            _ => alloc::format!("{} for {}", self.action, self.incident),
        }
    }
}

/// A finding; add what differs. `cause` must be stable: no pid, port, time or request id.
#[must_use]
pub fn finding(
    kind: &str,
    target: &str,
    severity: Severity,
    cause: impl Into<String>,
    summary: impl Into<String>,
) -> Finding {
    Finding {
        kind: kind.into(),
        target: target.into(),
        severity,
        confidence_permille: 1000,
        summary: summary.into(),
        cause: cause.into(),
        evidence: Vec::new(),
    }
}

impl Finding {
    /// How sure the detector is, 0 to 1000.
    #[must_use]
    pub fn confidence(mut self, permille: u16) -> Self {
        self.confidence_permille = permille.min(1000);
        self
    }

    /// With a value that playbooks can use as `${finding.evidence.NAME}`.
    #[must_use]
    pub fn evidence(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.evidence.push(Field {
            name: name.into(),
            value: value.into(),
        });
        self
    }
}

impl Severity {
    /// The word for it, as playbooks write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Minor => "minor",
            Severity::Moderate => "moderate",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }
}
