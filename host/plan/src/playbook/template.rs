//! `${name}` in parameters: parsing, filling in, and the arguments of a call.

use std::collections::BTreeMap;

use grace_model::plugin::{ActionInfo, Field, ParamType, Value};

use super::duration;
use super::expression::{EvalError, SyntaxError};
use super::scope::Scope;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of a name, and where the name stands.
    Name {
        /// Dotted.
        name: String,
        /// First byte.
        offset: usize,
    },
}

/// The parts of a text. `$${` stands for `${` itself.
///
/// # Errors
/// The first fault.
pub fn parse(text: &str) -> Result<Vec<Piece>, SyntaxError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(found) = rest.find("${") {
        let (before, from) = rest.split_at(found);
        let offset = text.len() - from.len();
        let inside = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = inside;
            continue;
        }
        plain.push_str(before);
        let Some(end) = inside.find('}') else {
            let message = "`${` is never closed by `}`; for the signs themselves write `$${`";
            return Err(SyntaxError {
                offset,
                length: 2,
                message: message.to_owned(),
            });
        };
        let (written, after) = inside.split_at(end);
        let name = written.trim();
        if !super::expression::is_name(name) {
            let message = if name.is_empty() {
                "`${}` names nothing".to_owned()
            } else {
                format!("`{name}` is no name: in parameters `${{...}}` holds one dotted name")
            };
            return Err(SyntaxError {
                offset,
                length: end + 3,
                message,
            });
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        let lead = written.len() - written.trim_start().len();
        pieces.push(Piece::Name {
            name: name.to_owned(),
            offset: offset + 2 + lead,
        });
        rest = after.get(1..).unwrap_or_default();
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Whether there is anything to fill in.
#[must_use]
pub fn is_template(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text.contains("${"))
}

/// The value with every `${name}` filled in. A text that is one `${name}` and nothing else
/// becomes the value itself, a number or a flag too.
///
/// # Errors
/// [`EvalError`]
pub fn fill(value: &Value, scope: &Scope) -> Result<Value, EvalError> {
    let Value::Text(text) = value else {
        return Ok(value.clone());
    };
    let pieces = parse(text).map_err(|error| EvalError::Syntax {
        text: text.clone(),
        error,
    })?;
    if let [Piece::Name { name, .. }] = pieces.as_slice() {
        return super::expression::lookup(name, scope);
    }
    let mut filled = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(&text),
            Piece::Name { name, .. } => {
                filled.push_str(&super::expression::lookup(&name, scope)?.to_string());
            }
        }
    }
    Ok(Value::Text(filled))
}

/// The arguments of a call: parameters filled in and turned into what the action declares,
/// durations into milliseconds.
///
/// # Errors
/// [`EvalError`]; a parameter that the action does not know or that is missing too.
pub fn arguments(
    params: &BTreeMap<String, Value>,
    scope: &Scope,
    action: &ActionInfo,
) -> Result<Vec<Field>, EvalError> {
    let filled = params
        .iter()
        .map(|(name, value)| Ok((name.clone(), fill(value, scope)?)))
        .collect::<Result<BTreeMap<_, _>, EvalError>>()?;
    typed(&filled, action)
}

/// The same for parameters that are filled in already. A `${` that came in with a value stays
/// as it is: evidence is never taken for a template.
///
/// # Errors
/// [`EvalError::Kind`]
pub fn typed(
    params: &BTreeMap<String, Value>,
    action: &ActionInfo,
) -> Result<Vec<Field>, EvalError> {
    let mut fields = Vec::new();
    for (name, value) in params {
        let Some(param) = action.params.iter().find(|param| param.name == *name) else {
            let problem = format!("`{}` has no parameter `{name}`", action.name);
            return Err(EvalError::Kind(problem));
        };
        let value = converted(value, param.kind).map_err(|problem| {
            EvalError::Kind(format!(
                "parameter `{name}` of `{}`: {problem}",
                action.name
            ))
        })?;
        fields.push(Field {
            name: name.clone(),
            value,
        });
    }
    for param in action.params.iter().filter(|param| param.required) {
        if !params.contains_key(&param.name) {
            let problem = format!("`{}` needs a parameter `{}`", action.name, param.name);
            return Err(EvalError::Kind(problem));
        }
    }
    Ok(fields)
}

/// A value that was computed, as the type wants it.
fn converted(value: &Value, kind: ParamType) -> Result<Value, String> {
    match (kind, value) {
        (ParamType::Text | ParamType::Target, value) => Ok(Value::Text(value.to_string())),
        (ParamType::Integer | ParamType::Duration, Value::Integer(_))
        | (ParamType::Flag, Value::Flag(_)) => Ok(value.clone()),
        (ParamType::Duration, Value::Text(text)) => duration::parse(text).map(Value::from),
        (ParamType::Integer, Value::Text(text)) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| format!("`{text}` is no whole number")),
        (ParamType::Flag, Value::Text(text)) => text
            .parse()
            .map(Value::Flag)
            .map_err(|_| format!("`{text}` is not true or false")),
        (kind, value) => Err(format!("`{value}` is not {}", kind_words(kind))),
    }
}

/// A type in words.
#[must_use]
pub fn kind_words(kind: ParamType) -> &'static str {
    match kind {
        ParamType::Text => "a text",
        ParamType::Integer => "a whole number",
        ParamType::Flag => "true or false",
        ParamType::Target => "an instance or a service",
        ParamType::Duration => "a duration such as `5s`",
    }
}
