//! The JSON schema of a playbook, for editors. Made from the same keys that the reader knows.

use serde_json::{Map, Value, json};

use super::keys::{self, Key};

/// The schema.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Grace playbook",
        "$ref": "#/$defs/playbook",
        "$defs": {
            "playbook": object(keys::PLAYBOOK, &playbook_key),
            "trigger": object(keys::TRIGGER, &trigger_key),
            "step": object(keys::STEP, &step_key),
            "check": without_required_id(object(keys::STEP, &step_key)),
            "failure": failure(),
            "duration": { "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" },
            "scalar": { "type": ["string", "number", "boolean"] },
            "expression": { "type": ["string", "boolean"] },
            "severity": { "enum": keys::SEVERITIES },
        },
    })
}

fn object(keys: &[Key], shape: &dyn Fn(&str) -> Value) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut value = shape(key.name);
        if let Some(value) = value.as_object_mut() {
            value.insert("description".to_owned(), json!(key.meaning));
        }
        properties.insert(key.name.to_owned(), value);
    }
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn list_of(name: &str) -> Value {
    json!({ "type": "array", "items": reference(name) })
}

fn playbook_key(key: &str) -> Value {
    match key {
        "version" => json!({ "type": "integer", "minimum": 1 }),
        "triggers" => list_of("trigger"),
        "preconditions" => list_of("expression"),
        "parameters" => {
            json!({ "type": "object", "additionalProperties": reference("scalar") })
        }
        "steps" => list_of("step"),
        "branches" => json!({
            "type": "object",
            "propertyNames": reference("severity"),
            "additionalProperties": list_of("step"),
        }),
        "verify" => list_of("check"),
        "on_failure" => list_of("failure"),
        "cooldown" | "slo" => reference("duration"),
        "priority" => json!({ "type": "integer" }),
        _ => json!({ "type": "string" }),
    }
}

fn trigger_key(key: &str) -> Value {
    match key {
        "severity" => reference("severity"),
        _ => json!({ "type": "string" }),
    }
}

fn step_key(key: &str) -> Value {
    match key {
        "params" => json!({ "type": "object", "additionalProperties": reference("scalar") }),
        "if" => reference("expression"),
        "timeout" | "backoff" => reference("duration"),
        "retries" => json!({ "type": "integer", "minimum": 0, "maximum": keys::MAX_RETRIES }),
        "on_failure" => json!({ "enum": ["abort", "continue"] }),
        "verify" => list_of("check"),
        "undo" => json!({ "oneOf": [{ "enum": ["auto", "none"] }, reference("check")] }),
        _ => json!({ "type": "string" }),
    }
}

fn without_required_id(mut step: Value) -> Value {
    if let Some(required) = step.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| key != "id");
    }
    step
}

/// Exactly one of its keys.
fn failure() -> Value {
    let mut one = object(keys::ON_FAILURE, &|key| match key {
        "rollback" => json!({ "enum": ["all", "none"] }),
        _ => json!({ "type": "string" }),
    });
    if let Some(one) = one.as_object_mut() {
        one.insert("minProperties".to_owned(), json!(1));
        one.insert("maxProperties".to_owned(), json!(1));
    }
    one
}
