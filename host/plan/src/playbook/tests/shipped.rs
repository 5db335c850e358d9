//! The playbooks that come with Grace, their schema and their reference.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::catalogue::known;
use crate::playbook::keys;
use crate::playbook::{load, schema};

fn playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../playbooks")
}

fn shipped() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(playbooks())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_shipped_playbook_is_without_fault_and_named_as_its_file() {
    let mut known = known();
    let shipped = shipped();
    known.playbooks = shipped.iter().map(|(name, _)| name.clone()).collect();
    let mut answered = Vec::new();
    for (name, text) in &shipped {
        let loaded = load(text, name, &known.catalogue());
        assert_eq!(loaded.diagnostics, vec![], "{name}");
        let playbook = loaded.playbook.unwrap();
        assert_eq!(playbook.id.as_str(), name);
        answered.extend(playbook.triggers.into_iter().map(|trigger| trigger.finding));
    }
    for finding in &known.findings {
        assert!(answered.contains(finding), "nothing answers {finding}");
    }
}

#[test]
fn every_shipped_playbook_meets_the_schema() {
    let schema = schema();
    for (name, text) in shipped() {
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        let mut faults = Vec::new();
        validate(&schema, &schema, &value, &name, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    let good = std::fs::read_to_string(playbooks().join("config-accepted.yaml")).unwrap();
    for (from, to) in [
        ("version: 1", "version: x"),
        ("cooldown: 1s", "cooldown: 1"),
        ("triggers:", "trigers:"),
        ("undo: none", "undo: nothing"),
        (
            "on_failure: [{ escalate: log }]",
            "on_failure: [{ escalate: log, rollback: all }]",
        ),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let value: Value = serde_saphyr::from_str(&bad).unwrap();
        let mut faults = Vec::new();
        validate(&schema, &schema, &value, "", &mut faults);
        assert!(!faults.is_empty(), "{to}");
        assert!(crate::playbook::read(&bad, "p").is_err(), "{to}");
    }
}

#[test]
fn schema_and_reference_name_every_key() {
    let schema = schema();
    let reference = std::fs::read_to_string(playbooks().join("README.md")).unwrap();
    for (name, keys) in [
        ("playbook", keys::PLAYBOOK),
        ("trigger", keys::TRIGGER),
        ("step", keys::STEP),
        ("failure", keys::ON_FAILURE),
    ] {
        for key in keys {
            let described = &schema["$defs"][name]["properties"][key.name]["description"];
            assert_eq!(described, key.meaning, "{name}.{}", key.name);
            assert!(
                reference.contains(&format!("`{}`", key.name)),
                "README: {}",
                key.name
            );
        }
    }
    for (name, _) in shipped() {
        assert!(reference.contains(&format!("`{name}`")), "README: {name}");
    }
}

/// As much of JSON schema as ours uses.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return validate(root, target, value, at, faults);
    }
    let mut tell = |what: &str| faults.push(format!("{at}: {what}: {value}"));
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let is = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("{other}"),
    };
    if !types.is_empty() && !types.iter().any(|word| is(word)) {
        tell("wrong type");
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        tell("not among the allowed words");
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        assert_eq!(
            pattern, "^[0-9]+(ms|s|m|h)$",
            "the only one that this validator knows"
        );
        if crate::playbook::duration::parse(value.as_str().unwrap_or_default()).is_err() {
            tell("no duration");
        }
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| {
            let mut inner = Vec::new();
            validate(root, choice, value, at, &mut inner);
            inner.is_empty()
        });
        if fitting.count() != 1 {
            tell("fits not exactly one");
        }
    }
    let size = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
    if let Some(object) = value.as_object() {
        if size("maxProperties").is_some_and(|most| object.len() > most)
            || size("minProperties").is_some_and(|least| object.len() < least)
        {
            tell("wrong number of keys");
        }
        for key in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(key.as_str().unwrap()) {
                tell(&format!("{key} is missing"));
            }
        }
        for (key, inner) in object {
            let at = format!("{at}.{key}");
            match (
                schema["properties"].get(key),
                schema.get("additionalProperties"),
            ) {
                (Some(schema), _) => validate(root, schema, inner, &at, faults),
                (None, Some(Value::Bool(false))) => faults.push(format!("{at}: unknown key")),
                (None, Some(schema @ Value::Object(_))) => {
                    validate(root, schema, inner, &at, faults);
                }
                _ => {}
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            validate(root, schema, item, &format!("{at}[{index}]"), faults);
        }
    }
}
