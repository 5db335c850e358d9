//! Which names have a value at a place of a playbook.

use std::collections::{BTreeMap, BTreeSet};

use grace_model::playbook::Playbook;
use grace_model::plugin::ActionInfo;

use crate::playbook::diagnostic::did_you_mean;
use crate::playbook::scope::{FINDING, INCIDENT, STEP};

/// Words that a step cannot be called.
pub(super) const RESERVED: [&str; 9] = [
    "finding", "incident", "params", "and", "or", "not", "contains", "true", "false",
];

/// Names with a value.
#[derive(Debug, Clone)]
pub(super) struct Names {
    params: BTreeSet<String>,
    /// Steps before this place with their outputs; none when the action is unknown.
    steps: BTreeMap<String, Option<BTreeSet<String>>>,
}

impl Names {
    pub fn of(playbook: &Playbook) -> Self {
        Self {
            params: playbook.parameters.keys().cloned().collect(),
            steps: BTreeMap::new(),
        }
    }

    pub fn has_step(&self, id: &str) -> bool {
        self.steps.contains_key(id)
    }

    pub fn add_step(&mut self, id: &str, action: Option<&ActionInfo>) {
        let outputs = action.map(|action| action.outputs.iter().cloned().collect());
        self.steps.insert(id.to_owned(), outputs);
    }

    /// What both have.
    pub fn common_with(&self, other: &Self) -> Self {
        let mut steps = BTreeMap::new();
        for (id, outputs) in &self.steps {
            if let Some(others) = other.steps.get(id) {
                let common = match (outputs, others) {
                    (Some(ours), Some(theirs)) => Some(ours & theirs),
                    (known, None) | (None, known) => known.clone(),
                };
                steps.insert(id.clone(), common);
            }
        }
        Self {
            params: self.params.clone(),
            steps,
        }
    }

    /// Why `name` has no value here, and what to do.
    pub fn fault(&self, name: &str) -> Option<(String, Option<String>)> {
        let parts: Vec<&str> = name.split('.').collect();
        let known = match parts.as_slice() {
            ["finding", "evidence", _] => true,
            ["finding", part] => FINDING.contains(part),
            ["incident", part] => INCIDENT.contains(part),
            ["params", part] => self.params.contains(*part),
            [step, part] => match self.steps.get(*step) {
                Some(None) => true,
                Some(Some(outputs)) => STEP.contains(part) || outputs.contains(*part),
                None => false,
            },
            _ => false,
        };
        if known {
            return None;
        }
        if let ["finding", "evidence", ..] = parts.as_slice() {
            let help = "write `finding.evidence.NAME`".to_owned();
            return Some((format!("`{name}` has no value here"), Some(help)));
        }
        let all = self.all();
        let help =
            did_you_mean(name, all.iter().map(String::as_str)).or_else(|| self.rather(&parts));
        Some((format!("`{name}` has no value here"), help))
    }

    fn rather(&self, parts: &[&str]) -> Option<String> {
        let list = |what: &str, words: Vec<String>| {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            Some(format!("{what}: {}", words.join(", ")))
        };
        match parts {
            ["finding", ..] => list("there are", self.starting_with("finding."))
                .map(|text| format!("{text}, `finding.evidence.NAME`")),
            ["params", ..] if self.params.is_empty() => {
                Some("the playbook has no `parameters`".to_owned())
            }
            [first, ..] if *first == "params" || *first == "incident" => {
                list("there are", self.starting_with(&format!("{first}.")))
            }
            [step, ..] if self.steps.contains_key(*step) => {
                list("there are", self.starting_with(&format!("{step}.")))
            }
            [_] => Some("names are dotted: `finding.target`, `params.NAME`, `STEP.changed`".into()),
            _ => {
                let steps: Vec<String> = self.steps.keys().cloned().collect();
                let what = "names start with `finding`, `incident`, `params` or an earlier step";
                if steps.is_empty() {
                    Some(what.to_owned())
                } else {
                    list(what, steps)
                }
            }
        }
    }

    fn starting_with(&self, prefix: &str) -> Vec<String> {
        self.all()
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = FINDING
            .iter()
            .map(|part| format!("finding.{part}"))
            .collect();
        all.extend(INCIDENT.iter().map(|part| format!("incident.{part}")));
        all.extend(self.params.iter().map(|part| format!("params.{part}")));
        for (step, outputs) in &self.steps {
            all.extend(STEP.iter().map(|part| format!("{step}.{part}")));
            all.extend(
                outputs
                    .iter()
                    .flatten()
                    .map(|part| format!("{step}.{part}")),
            );
        }
        all
    }
}
