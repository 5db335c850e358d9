//! The parameters of a step against what its action declares, and the names in texts.

use grace_model::playbook::Step;
use grace_model::plugin::{ActionInfo, ParamType, Value};

use super::names::Names;
use super::{Checker, Level};
use crate::playbook::diagnostic::{Place, suggest};
use crate::playbook::duration;
use crate::playbook::expression::{self, SyntaxError};
use crate::playbook::template::{self, Piece, kind_words};

impl Checker<'_> {
    /// Checks names and syntax; answers with the value when it is always the same.
    pub(super) fn expression(&mut self, text: &str, path: &str, names: &Names) -> Option<bool> {
        match expression::parse(text) {
            Ok(ast) => {
                for (name, offset) in ast.names() {
                    self.name(name, text, offset, path, names);
                }
                ast.constant()
            }
            Err(error) => {
                self.syntax(&error, text, path);
                None
            }
        }
    }

    pub(super) fn arguments(
        &mut self,
        step: &Step,
        action: &ActionInfo,
        path: &str,
        names: &Names,
    ) {
        let known: Vec<&str> = action
            .params
            .iter()
            .map(|param| param.name.as_str())
            .collect();
        for (name, value) in &step.params {
            let path = format!("{path}.params.{name}");
            match action.params.iter().find(|param| param.name == *name) {
                Some(param) => self.kind(value, param.kind, name, &path),
                None => {
                    let message = format!("`{}` has no parameter `{name}`", action.name);
                    let help = suggest(name, "parameters", &known);
                    self.error("unknown-parameter", &format!("{path}#key"), message, help);
                }
            }
        }
        for param in action.params.iter().filter(|param| param.required) {
            if !step.params.contains_key(&param.name) {
                let message = format!("`{}` needs the parameter `{}`", action.name, param.name);
                let help = Some(format!("{}: {}", param.name, param.summary));
                self.error(
                    "missing-parameter",
                    &format!("{path}.action"),
                    message,
                    help,
                );
            }
        }
        self.names_in_params(step, path, names);
    }

    pub(super) fn names_in_params(&mut self, step: &Step, path: &str, names: &Names) {
        for (name, value) in &step.params {
            let Value::Text(text) = value else { continue };
            let path = format!("{path}.params.{name}");
            match template::parse(text) {
                Ok(pieces) => {
                    for piece in pieces {
                        if let Piece::Name { name, offset } = piece {
                            self.name(&name, text, offset, &path, names);
                        }
                    }
                }
                Err(error) => self.syntax(&error, text, &path),
            }
        }
    }

    fn kind(&mut self, value: &Value, kind: ParamType, name: &str, path: &str) {
        if template::is_template(value) {
            // `${params.x}` alone has the type of that parameter's default.
            let Value::Text(text) = value else { return };
            let Ok(pieces) = template::parse(text) else {
                return;
            };
            if let [Piece::Name { name: from, .. }] = pieces.as_slice()
                && let Some(parameter) = from.strip_prefix("params.")
                && let Some(value) = self.read.playbook.parameters.get(parameter)
                && let Some(problem) = misfit(value, kind)
            {
                let message = format!(
                    "`{name}` must be {}, and `{from}` {problem}",
                    kind_words(kind)
                );
                self.error("wrong-type", path, message, None);
            }
            return;
        }
        if let Some(problem) = misfit(value, kind) {
            let message = format!(
                "`{name}` must be {}, and `{value}` {problem}",
                kind_words(kind)
            );
            self.error("wrong-type", path, message, None);
        }
    }

    fn name(&mut self, name: &str, text: &str, offset: usize, path: &str, names: &Names) {
        if let Some((message, help)) = names.fault(name) {
            let place = self.inner(path, text, offset, name.len());
            self.tell(Level::Error, "unknown-variable", place, message, help);
        }
    }

    fn syntax(&mut self, error: &SyntaxError, text: &str, path: &str) {
        let place = self.inner(path, text, error.offset, error.length);
        self.tell(Level::Error, "syntax", place, error.message.clone(), None);
    }

    /// The place of a part of a text, where the text stands in the source as it is; else the
    /// place of the whole.
    fn inner(&self, path: &str, text: &str, offset: usize, length: usize) -> Place {
        let whole = self.read.place(path);
        let source = self.read.source.as_str();
        let written = source
            .get(whole.offset..whole.offset + whole.length)
            .unwrap_or_default();
        let Some(start) = written.find(text) else {
            return whole;
        };
        let start = whole.offset + start + offset;
        let Some(before) = source.get(..start) else {
            return whole;
        };
        let line_start = before.rfind('\n').map_or(0, |place| place + 1);
        let lines = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place {
            line: u32::try_from(lines).unwrap_or(0),
            column: u32::try_from(column).unwrap_or(0),
            offset: start,
            length: length.min(source.len() - start),
        }
    }
}

/// Why a fixed value is not of the type.
fn misfit(value: &Value, kind: ParamType) -> Option<String> {
    match (kind, value) {
        (ParamType::Text, _)
        | (ParamType::Target, Value::Text(_))
        | (ParamType::Integer, Value::Integer(_))
        | (ParamType::Flag, Value::Flag(_)) => None,
        (ParamType::Duration, value) => duration::parse(&value.to_string())
            .err()
            .map(|problem| format!("is none: {problem}")),
        (_, value) => Some(format!("is {}", expression::kind(value))),
    }
}
