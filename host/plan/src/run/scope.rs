//! What conditions and parameters of a run can see.

use std::collections::BTreeMap;

use grace_model::playbook::Expression;
use grace_model::plugin::{Receipt, Value};

use super::Run;
use crate::playbook::{Scope, evaluate, fill};

/// Whether a condition holds for a run as it is now.
///
/// # Errors
/// Why it has no answer, for a person.
pub fn condition_holds(condition: &Expression, run: &Run) -> Result<bool, String> {
    evaluate(condition, &scope_of(run)).map_err(|e| format!("`if: {}`: {e}", condition.0))
}

/// Parameters with every `${...}` filled in.
///
/// # Errors
/// Which could not be filled in and why, for a person.
pub fn filled(
    params: &BTreeMap<String, Value>,
    run: &Run,
) -> Result<BTreeMap<String, Value>, String> {
    let scope = scope_of(run);
    params
        .iter()
        .map(|(name, value)| {
            let value = fill(value, &scope).map_err(|e| format!("parameter `{name}`: {e}"))?;
            Ok((name.clone(), value))
        })
        .collect()
}

/// Everything that has a name in a run.
#[must_use]
pub fn scope_of(run: &Run) -> Scope {
    let mut scope = Scope::of(&run.finding, &run.incident, &run.signature, &run.playbook);
    for (step, outputs) in &run.outputs {
        for (name, value) in outputs {
            scope.insert(format!("{step}.{name}"), value.clone());
        }
    }
    scope
}

/// The outputs of a step that went well.
pub(super) fn outputs_of(receipt: &Receipt) -> BTreeMap<String, Value> {
    let mut outputs: BTreeMap<String, Value> = receipt
        .outputs
        .iter()
        .map(|field| (field.name.clone(), field.value.clone()))
        .collect();
    outputs.extend(outcome(true, receipt.changed, &receipt.summary));
    outputs
}

/// What every step has, whatever became of it.
pub(super) fn outcome(ok: bool, changed: bool, summary: &str) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("ok".to_owned(), Value::Flag(ok)),
        ("changed".to_owned(), Value::Flag(changed)),
        ("summary".to_owned(), Value::Text(summary.to_owned())),
    ])
}
