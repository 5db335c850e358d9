//! Secrets in bodies: JSON by names and paths, forms by names, other text by form; what cannot be
//! looked into goes as a whole.

use serde_json::Value;

use super::names::Names;
use super::text::{self, Scrub};
use super::{Message, REDACTED};
use crate::blob::Blob;

/// What a body is.
enum Kind<'a> {
    Nothing,
    Json(Value),
    Form(&'a str),
    Text(&'a str),
    /// Why it cannot be looked into.
    Closed(&'static str),
}

fn kind<'a>(message: &Message<'a>) -> Kind<'a> {
    if message.body.is_empty() {
        return Kind::Nothing;
    }
    let header = |name: &str| {
        let found = message.headers.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.text()).unwrap_or("")
    };
    let Some(text) = message.body.text() else {
        return Kind::Closed("no text");
    };
    if is_placeholder(text) {
        return Kind::Text(text);
    }
    if !matches!(header("content-encoding"), "" | "identity") {
        return Kind::Closed("packed");
    }
    let whole = header("content-type").to_ascii_lowercase();
    let of = whole.split(';').next().unwrap_or_default().trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Kind::Json(value);
    }
    if of.ends_with("json") || text.trim_start().starts_with(['{', '[']) {
        // Names cannot be told from values in half of it.
        return Kind::Closed("no whole JSON");
    }
    if of == "application/x-www-form-urlencoded" {
        return Kind::Form(text);
    }
    if of.starts_with("text/") || of.is_empty() {
        // Cut in the middle of a secret, its form is not seen any more.
        return if message.cut {
            Kind::Closed("cut")
        } else {
            Kind::Text(text)
        };
    }
    Kind::Closed("not looked into")
}

/// Whether it is what [`body`] writes for one that cannot be looked into, and nothing more.
fn is_placeholder(text: &str) -> bool {
    let middle = text
        .strip_prefix("[redacted: ")
        .and_then(|rest| rest.strip_suffix(']'));
    middle
        .and_then(|it| it.split_once(" bytes, "))
        .is_some_and(|(count, why)| {
            count.bytes().all(|c| c.is_ascii_digit())
                && [
                    "no text",
                    "packed",
                    "no whole JSON",
                    "cut",
                    "not looked into",
                ]
                .contains(&why)
        })
}

/// Learns the values that names give away.
pub(super) fn gather(message: &Message<'_>, names: &Names, scrub: &mut Scrub<'_>) {
    match kind(message) {
        Kind::Json(value) => gather_value(&value, &mut Vec::new(), names, scrub),
        Kind::Form(form) => text::gather_form(form, names, scrub),
        Kind::Nothing | Kind::Text(_) | Kind::Closed(_) => {}
    }
}

/// The body without secrets.
pub(super) fn body(message: &Message<'_>, names: &Names, scrub: &Scrub<'_>) -> Blob {
    let text = match kind(message) {
        Kind::Nothing => return Blob::default(),
        Kind::Json(mut value) => {
            redact(&mut value, &mut Vec::new(), names, scrub);
            value.to_string()
        }
        Kind::Form(form) => scrub.text(&text::form(form, names)),
        Kind::Text(text) => scrub.text(text),
        Kind::Closed(why) => {
            format!("[redacted: {} bytes, {why}]", message.body.0.len())
        }
    };
    Blob::from(text.as_str())
}

fn gather_value<'v>(
    value: &'v Value,
    path: &mut Vec<&'v str>,
    names: &Names,
    scrub: &mut Scrub<'_>,
) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                path.push(key);
                if names.is_secret_path(path) {
                    learn_all(value, scrub);
                } else {
                    gather_value(value, path, names, scrub);
                }
                path.pop();
            }
        }
        Value::Array(list) => {
            for value in list {
                gather_value(value, path, names, scrub);
            }
        }
        _ => {}
    }
}

fn learn_all(value: &Value, scrub: &mut Scrub<'_>) {
    match value {
        Value::String(text) => scrub.learn(text),
        Value::Number(number) => scrub.learn(&number.to_string()),
        Value::Array(list) => list.iter().for_each(|value| learn_all(value, scrub)),
        Value::Object(map) => map.values().for_each(|value| learn_all(value, scrub)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn redact(value: &mut Value, path: &mut Vec<String>, names: &Names, scrub: &Scrub<'_>) {
    match value {
        Value::Object(map) => {
            let old = std::mem::take(map);
            for (key, mut value) in old {
                path.push(key.clone());
                let at: Vec<&str> = path.iter().map(String::as_str).collect();
                if names.is_secret_path(&at) {
                    value = Value::String(REDACTED.to_owned());
                } else {
                    redact(&mut value, path, names, scrub);
                }
                path.pop();
                map.insert(scrub.text(&key), value);
            }
        }
        Value::Array(list) => {
            for value in list {
                redact(value, path, names, scrub);
            }
        }
        Value::String(text) => *text = scrub.text(text),
        Value::Number(number) => {
            let text = number.to_string();
            let clean = scrub.text(&text);
            if clean != text {
                *value = Value::String(clean);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}
