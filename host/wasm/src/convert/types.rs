//! Interface `types`: values, fields, observations, findings, errors.

use grace_model::plugin::{Field, Finding, Observation, PluginError, Severity, Value};

use crate::bindings::types as wit;

pub fn value_out(value: &Value) -> wit::Value {
    match value {
        Value::Text(text) => wit::Value::Text(text.clone()),
        Value::Integer(number) => wit::Value::Integer(*number),
        Value::Flag(flag) => wit::Value::Flag(*flag),
    }
}

pub fn value_in(value: wit::Value) -> Value {
    match value {
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Integer(number) => Value::Integer(number),
        wit::Value::Flag(flag) => Value::Flag(flag),
    }
}

pub fn fields_out(fields: &[Field]) -> Vec<wit::Field> {
    fields
        .iter()
        .map(|field| wit::Field {
            name: field.name.clone(),
            value: value_out(&field.value),
        })
        .collect()
}

pub fn fields_in(fields: Vec<wit::Field>) -> Vec<Field> {
    fields
        .into_iter()
        .map(|field| Field {
            name: field.name,
            value: value_in(field.value),
        })
        .collect()
}

pub fn observation_out(seen: &Observation) -> wit::Observation {
    wit::Observation {
        at: seen.at,
        target: seen.target.clone(),
        kind: seen.kind.clone(),
        fields: fields_out(&seen.fields),
    }
}

pub fn severity_in(severity: wit::Severity) -> Severity {
    match severity {
        wit::Severity::Minor => Severity::Minor,
        wit::Severity::Moderate => Severity::Moderate,
        wit::Severity::Major => Severity::Major,
        wit::Severity::Critical => Severity::Critical,
    }
}

pub fn finding_in(finding: wit::Finding) -> Finding {
    Finding {
        kind: finding.kind,
        target: finding.target,
        severity: severity_in(finding.severity),
        confidence_permille: finding.confidence_permille.min(1_000),
        summary: finding.summary,
        cause: finding.cause,
        evidence: fields_in(finding.evidence),
    }
}

pub fn error_in(error: wit::PluginError) -> PluginError {
    match error {
        wit::PluginError::InvalidInput(why) => PluginError::InvalidInput(why),
        wit::PluginError::Denied(why) => PluginError::Denied(why),
        wit::PluginError::Unavailable(why) => PluginError::Unavailable(why),
        wit::PluginError::NotApplicable(why) => PluginError::NotApplicable(why),
        wit::PluginError::TimedOut(why) => PluginError::TimedOut(why),
        wit::PluginError::Other(why) => PluginError::Other(why),
    }
}

pub fn error_out(error: PluginError) -> wit::PluginError {
    match error {
        PluginError::InvalidInput(why) => wit::PluginError::InvalidInput(why),
        PluginError::Denied(why) => wit::PluginError::Denied(why),
        PluginError::Unavailable(why) => wit::PluginError::Unavailable(why),
        PluginError::NotApplicable(why) => wit::PluginError::NotApplicable(why),
        PluginError::TimedOut(why) => wit::PluginError::TimedOut(why),
        PluginError::Other(why) => wit::PluginError::Other(why),
    }
}
