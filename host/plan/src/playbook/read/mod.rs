//! Text to playbook. Every fault that can be seen is told, not only the first; what a word
//! refers to (actions, names, channels) is checked elsewhere.

mod fields;
mod step;

use std::collections::BTreeMap;

use grace_model::id::PlaybookId;
use grace_model::playbook::{Expression, OnFailure, Playbook, Trigger};
use grace_model::plugin::{Severity, Value};

use super::diagnostic::{Diagnostic, Level, Place, did_you_mean, suggest};
use super::keys;
use super::scope::severity_of;
use super::yaml::{self, Node, Tree};
use fields::Fields;

/// A playbook with its source and the places of its parts.
#[derive(Debug, Clone)]
pub struct Read {
    /// The playbook.
    pub playbook: Playbook,
    /// The file's text.
    pub source: String,
    /// Places by path, such as `steps[0].params.target`.
    pub places: BTreeMap<String, Place>,
}

impl Read {
    /// Where a part is: itself, or the nearest part around it.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = path.get(..cut).unwrap_or_default(),
                None => return Place::default(),
            }
        }
    }

    /// Whether the file says this itself, not by a default.
    #[must_use]
    pub fn says(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }
}

/// Reads a playbook. `origin` names the file in messages.
///
/// # Errors
/// Every fault that was found.
pub fn read(text: &str, origin: &str) -> Result<Read, Vec<Diagnostic>> {
    let mut reader = Reader {
        source: text,
        origin,
        diagnostics: Vec::new(),
        places: BTreeMap::new(),
    };
    let playbook = match yaml::parse(text) {
        Ok(root) => reader.playbook(&root),
        Err(fault) => {
            reader.error("yaml", fault.place, fault.message, None);
            None
        }
    };
    match playbook {
        Some(playbook) if reader.diagnostics.is_empty() => Ok(Read {
            playbook,
            source: text.to_owned(),
            places: reader.places,
        }),
        _ => {
            reader
                .diagnostics
                .sort_by_key(|fault| (fault.line, fault.column));
            Err(reader.diagnostics)
        }
    }
}

struct Reader<'s> {
    source: &'s str,
    origin: &'s str,
    diagnostics: Vec<Diagnostic>,
    places: BTreeMap<String, Place>,
}

/// A diagnostic at a place of a source.
pub(crate) fn diagnostic(
    level: Level,
    code: &str,
    (origin, source): (&str, &str),
    place: Place,
    message: String,
    help: Option<String>,
) -> Diagnostic {
    let meant = source
        .get(place.offset..place.offset + place.length)
        .unwrap_or_default();
    let meant = meant.lines().next().unwrap_or_default().trim_end();
    let length = u32::try_from(meant.chars().count()).unwrap_or(1).max(1);
    Diagnostic {
        severity: level,
        code: code.to_owned(),
        file: origin.to_owned(),
        line: place.line,
        column: place.column,
        length,
        message,
        help,
    }
}

impl Reader<'_> {
    fn error(&mut self, code: &str, place: Place, message: String, help: Option<String>) {
        let at = (self.origin, self.source);
        self.diagnostics
            .push(diagnostic(Level::Error, code, at, place, message, help));
    }

    fn wrong_kind(&mut self, node: &Node, path: &str, wanted: &str) {
        let message = format!("`{path}` must be {wanted}, not {}", node.value.words());
        self.error("wrong-kind", node.place, message, None);
    }

    fn playbook(&mut self, root: &Node) -> Option<Playbook> {
        let mut fields = self.fields(root, "", keys::PLAYBOOK, "a playbook")?;
        let id = self.required_text(&mut fields, "id");
        if let (Some(id), Some(node)) = (&id, fields.node("id")) {
            self.check_word(id, node, "id");
        }
        let version = self.integer(&mut fields, "version", 1, i64::from(u32::MAX));
        let description = self.required_text(&mut fields, "description");
        let triggers = self.list(&mut fields, "triggers", Self::trigger);
        let preconditions = self.list(&mut fields, "preconditions", Self::expression);
        let parameters = self.values(&mut fields, "parameters");
        let has_steps = fields.node("steps").is_some();
        let steps = self.list(&mut fields, "steps", Self::step);
        let branches = self.branches(&mut fields);
        let verify = self.list(&mut fields, "verify", Self::check_step);
        let on_failure = self.list(&mut fields, "on_failure", Self::on_failure);
        let cooldown_ms = self.duration(&mut fields, "cooldown");
        let slo_ms = self.duration(&mut fields, "slo");
        let priority = self.integer(&mut fields, "priority", -1_000_000, 1_000_000);
        if !has_steps && branches.is_empty() {
            let message = "a playbook needs `steps`".to_owned();
            let help = Some("`steps: []` is right for one that only verifies".to_owned());
            self.error("missing-key", fields.place, message, help);
        }
        Some(Playbook {
            id: PlaybookId(id?),
            version: version
                .and_then(|version| u32::try_from(version).ok())
                .unwrap_or(1),
            description: description?,
            triggers,
            preconditions,
            parameters,
            steps,
            branches,
            verify,
            on_failure,
            cooldown_ms: cooldown_ms.unwrap_or(keys::DEFAULT_COOLDOWN_MS),
            slo_ms,
            priority: priority
                .and_then(|value| i32::try_from(value).ok())
                .unwrap_or(0),
            origin: self.origin.to_owned(),
        })
    }

    /// Lower-case words joined by `-`.
    fn check_word(&mut self, word: &str, node: &Node, what: &str) {
        let good = (1..=64).contains(&word.len())
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        if !good {
            let message = format!("`{word}` is no valid {what}");
            let help = "use 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter".to_owned();
            self.error("bad-name", node.place, message, Some(help));
        }
    }

    fn trigger(&mut self, node: &Node, path: &str) -> Option<Trigger> {
        let mut fields = self.fields(node, path, keys::TRIGGER, "a trigger")?;
        let finding = self.required_text(&mut fields, "finding");
        let severity = self.text(&mut fields, "severity").and_then(|word| {
            let severity = severity_of(&word);
            if severity.is_none() {
                let place = fields.place_of("severity");
                let help = suggest(&word, "severities", &keys::SEVERITIES);
                self.error(
                    "bad-severity",
                    place,
                    format!("`{word}` is no severity"),
                    help,
                );
            }
            severity
        });
        let service = self.text(&mut fields, "service");
        Some(Trigger {
            finding: finding?,
            severity,
            service,
        })
    }

    fn expression(&mut self, node: &Node, path: &str) -> Option<Expression> {
        match &node.value {
            Tree::Text(text) => Some(Expression(text.trim().to_owned())),
            Tree::Flag(flag) => Some(Expression(flag.to_string())),
            _ => {
                self.wrong_kind(node, path, "an expression");
                None
            }
        }
    }

    fn branches(
        &mut self,
        fields: &mut Fields<'_>,
    ) -> BTreeMap<Severity, Vec<grace_model::playbook::Step>> {
        let mut branches = BTreeMap::new();
        let Some(node) = fields.take("branches") else {
            return branches;
        };
        let path = fields.path("branches");
        let Tree::Map(entries) = &node.value else {
            self.wrong_kind(node, &path, "a mapping from severities to steps");
            return branches;
        };
        for (key, value) in entries {
            let word = match &key.value {
                Tree::Text(word) => word.as_str(),
                other => other.words(),
            };
            let Some(severity) = severity_of(word) else {
                let help = suggest(word, "severities", &keys::SEVERITIES);
                self.error(
                    "bad-severity",
                    key.place,
                    format!("`{word}` is no severity"),
                    help,
                );
                continue;
            };
            let path = format!("{path}.{word}");
            self.places.insert(path.clone(), key.place);
            branches.insert(severity, self.items(value, &path, Self::step));
        }
        branches
    }

    fn on_failure(&mut self, node: &Node, path: &str) -> Option<OnFailure> {
        let mut fields = self.fields(node, path, keys::ON_FAILURE, "an entry of `on_failure`")?;
        if fields.len() != 1 {
            let message = "an entry of `on_failure` has one key".to_owned();
            let help = Some("`rollback: all`, `escalate: CHANNEL` or `playbook: ID`".to_owned());
            self.error("wrong-kind", node.place, message, help);
            return None;
        }
        if let Some(word) = self.text(&mut fields, "rollback") {
            if word == "none" {
                return Some(OnFailure::Keep);
            }
            if word != "all" {
                let place = fields.place_of("rollback");
                let help = did_you_mean(&word, ["all", "none"])
                    .or(Some("write `rollback: all` or `rollback: none`".into()));
                self.error(
                    "bad-word",
                    place,
                    format!("cannot roll back `{word}`"),
                    help,
                );
            }
            return Some(OnFailure::Rollback);
        }
        if let Some(channel) = self.text(&mut fields, "escalate") {
            return Some(OnFailure::Escalate(channel));
        }
        self.text(&mut fields, "playbook")
            .map(|id| OnFailure::Playbook(PlaybookId(id)))
    }
}

/// The value of a scalar, or none for a list, a mapping or nothing.
fn scalar(node: &Node) -> Option<Value> {
    match &node.value {
        Tree::Flag(flag) => Some(Value::Flag(*flag)),
        Tree::Integer(number) => Some(Value::Integer(*number)),
        Tree::Float(text) | Tree::Text(text) => Some(Value::Text(text.clone())),
        Tree::Null | Tree::List(_) | Tree::Map(_) => None,
    }
}
