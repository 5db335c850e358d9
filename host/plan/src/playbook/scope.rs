//! Names and their values while a playbook runs: what `${...}` and conditions can see.

use std::collections::BTreeMap;

use grace_model::id::IncidentId;
use grace_model::playbook::Playbook;
use grace_model::plugin::{Finding, Receipt, Severity, Value};

use super::diagnostic::did_you_mean;

/// What every finding has, beside `evidence`.
pub(crate) const FINDING: [&str; 6] = [
    "kind",
    "target",
    "severity",
    "confidence",
    "summary",
    "cause",
];
/// What every incident has.
pub(crate) const INCIDENT: [&str; 2] = ["id", "signature"];
/// What every step has, beside its action's outputs.
pub(crate) const STEP: [&str; 3] = ["changed", "ok", "summary"];

/// Values by dotted name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    values: BTreeMap<String, Value>,
}

impl Scope {
    /// Nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `finding.*`, `incident.*` and `params.*`: what is known when a run begins.
    #[must_use]
    pub fn of(
        finding: &Finding,
        incident: &IncidentId,
        signature: &str,
        playbook: &Playbook,
    ) -> Self {
        let mut scope = Self::new();
        scope.insert("finding.kind", finding.kind.as_str());
        scope.insert("finding.target", finding.target.as_str());
        scope.insert("finding.severity", severity_word(finding.severity));
        scope.insert("finding.confidence", i64::from(finding.confidence_permille));
        scope.insert("finding.summary", finding.summary.as_str());
        scope.insert("finding.cause", finding.cause.as_str());
        for field in &finding.evidence {
            scope.insert(
                format!("finding.evidence.{}", field.name),
                field.value.clone(),
            );
        }
        scope.insert("incident.id", incident.as_str());
        scope.insert("incident.signature", signature);
        for (name, value) in &playbook.parameters {
            scope.insert(format!("params.{name}"), value.clone());
        }
        scope
    }

    /// Gives a name a value, in place of an older one.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.values.insert(name.into(), value.into());
    }

    /// `ID.changed`, `ID.ok`, `ID.summary` and `ID.OUTPUT` of a step that went well.
    pub fn insert_step(&mut self, id: &str, receipt: &Receipt) {
        for field in &receipt.outputs {
            self.insert(format!("{id}.{}", field.name), field.value.clone());
        }
        self.insert_outcome(id, true, receipt.changed, &receipt.summary);
    }

    /// The same names, but for outputs, of a step that failed or was not run.
    pub fn insert_outcome(&mut self, id: &str, ok: bool, changed: bool, summary: &str) {
        self.insert(format!("{id}.ok"), ok);
        self.insert(format!("{id}.changed"), changed);
        self.insert(format!("{id}.summary"), summary);
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Why `name` has no value, for a person.
    pub(crate) fn missing(&self, name: &str) -> String {
        if let Some(evidence) = name.strip_prefix("finding.evidence.") {
            let has: Vec<&str> = self
                .values
                .keys()
                .filter_map(|key| key.strip_prefix("finding.evidence."))
                .collect();
            return if has.is_empty() {
                format!("the finding has no evidence `{evidence}`, and no other either")
            } else {
                format!(
                    "the finding has no evidence `{evidence}`; it has `{}`",
                    has.join("`, `")
                )
            };
        }
        let hint = did_you_mean(name, self.values.keys().map(String::as_str));
        match hint {
            Some(hint) => format!("`{name}` has no value, {hint}"),
            None => format!("`{name}` has no value"),
        }
    }
}

/// The word for a severity, as in playbooks.
#[must_use]
pub fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Minor => "minor",
        Severity::Moderate => "moderate",
        Severity::Major => "major",
        Severity::Critical => "critical",
    }
}

/// The severity of a word.
#[must_use]
pub fn severity_of(word: &str) -> Option<Severity> {
    [
        Severity::Minor,
        Severity::Moderate,
        Severity::Major,
        Severity::Critical,
    ]
    .into_iter()
    .find(|severity| severity_word(*severity) == word)
}
