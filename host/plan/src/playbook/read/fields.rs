//! A mapping's keys, taken one by one: unknown, missing and wrong ones are told.

use std::collections::BTreeMap;

use grace_model::plugin::Value;

use super::{Reader, scalar};
use crate::playbook::diagnostic::{Place, suggest};
use crate::playbook::duration;
use crate::playbook::keys::Key;
use crate::playbook::yaml::{Node, Tree};

/// A mapping in work.
pub(super) struct Fields<'n> {
    known: BTreeMap<&'static str, &'n Node>,
    prefix: String,
    pub place: Place,
}

impl<'n> Fields<'n> {
    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.known.get(key).copied()
    }

    /// The node of a key that is not `null`.
    pub fn take(&mut self, key: &str) -> Option<&'n Node> {
        self.node(key)
            .filter(|node| !matches!(node.value, Tree::Null))
    }

    pub fn place_of(&self, key: &str) -> Place {
        self.node(key).map_or(self.place, |node| node.place)
    }

    pub fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.prefix)
        }
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }
}

impl Reader<'_> {
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        keys: &'static [Key],
        what: &str,
    ) -> Option<Fields<'n>> {
        let Tree::Map(entries) = &node.value else {
            let message = format!("{what} must be a mapping, not {}", node.value.words());
            let names: Vec<&str> = keys
                .iter()
                .filter(|key| key.required)
                .map(|key| key.name)
                .collect();
            let help = (!names.is_empty()).then(|| format!("with the keys {}", names.join(", ")));
            self.error("wrong-kind", node.place, message, help);
            return None;
        };
        // A block mapping's own place is its first key, which is what should be pointed at.
        let first = entries.first().map_or(node.place, |(key, _)| key.place);
        if !path.is_empty() {
            self.places.insert(path.to_owned(), first);
        }
        let mut fields = Fields {
            known: BTreeMap::new(),
            prefix: path.to_owned(),
            place: first,
        };
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        for (key, value) in entries {
            let word = match scalar(key) {
                Some(word) => word.to_string(),
                None => key.value.words().to_owned(),
            };
            match keys.iter().find(|known| known.name == word) {
                Some(known) => {
                    self.places
                        .insert(fields.path(known.name), value_place(key, value));
                    fields.known.insert(known.name, value);
                }
                None => {
                    let message = format!("{what} has no key `{word}`");
                    let help = suggest(&word, "keys", &names);
                    self.error("unknown-key", key.place, message, help);
                }
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            // The id of a check is made from its number.
            let has = fields.take(key.name).is_some();
            if !has && !self.may_miss(path, key.name) {
                let message = format!("{what} needs `{}`", key.name);
                self.error("missing-key", first, message, Some(key.meaning.to_owned()));
            }
        }
        Some(fields)
    }

    fn may_miss(&self, path: &str, key: &str) -> bool {
        key == "id" && (path.contains("verify[") || path.ends_with(".undo"))
    }

    pub(super) fn text(&mut self, fields: &mut Fields<'_>, key: &str) -> Option<String> {
        let node = fields.take(key)?;
        match scalar(node) {
            Some(value) => {
                let text = value.to_string();
                if text.trim().is_empty() {
                    let message = format!("`{}` is empty", fields.path(key));
                    self.error("empty", node.place, message, None);
                    return None;
                }
                Some(text)
            }
            None => {
                self.wrong_kind(node, &fields.path(key), "a text");
                None
            }
        }
    }

    /// That it is missing was already told.
    pub(super) fn required_text(&mut self, fields: &mut Fields<'_>, key: &str) -> Option<String> {
        self.text(fields, key)
    }

    pub(super) fn integer(
        &mut self,
        fields: &mut Fields<'_>,
        key: &str,
        least: i64,
        most: i64,
    ) -> Option<i64> {
        let node = fields.take(key)?;
        match node.value {
            Tree::Integer(number) if (least..=most).contains(&number) => Some(number),
            Tree::Integer(number) => {
                let message = format!(
                    "`{}` must be {least} to {most}, not {number}",
                    fields.path(key)
                );
                self.error("out-of-range", node.place, message, None);
                None
            }
            _ => {
                self.wrong_kind(node, &fields.path(key), "a whole number");
                None
            }
        }
    }

    pub(super) fn duration(&mut self, fields: &mut Fields<'_>, key: &str) -> Option<u64> {
        let node = fields.take(key)?;
        let Some(value) = scalar(node) else {
            self.wrong_kind(node, &fields.path(key), "a duration such as `5s`");
            return None;
        };
        match duration::parse(&value.to_string()) {
            Ok(ms) => Some(ms),
            Err(help) => {
                let message = format!("`{value}` is no duration");
                self.error("bad-duration", node.place, message, Some(help));
                None
            }
        }
    }

    /// A mapping from names to scalars.
    pub(super) fn values(&mut self, fields: &mut Fields<'_>, key: &str) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        let Some(node) = fields.take(key) else {
            return values;
        };
        let path = fields.path(key);
        let Tree::Map(entries) = &node.value else {
            self.wrong_kind(node, &path, "a mapping from names to values");
            return values;
        };
        for (key, value) in entries {
            let Some(name) = scalar(key).map(|name| name.to_string()) else {
                self.wrong_kind(key, &path, "a mapping from names to values");
                continue;
            };
            let path = format!("{path}.{name}");
            match scalar(value) {
                Some(found) => {
                    self.places.insert(format!("{path}#key"), key.place);
                    self.places.insert(path, value.place);
                    values.insert(name, found);
                }
                None => self.wrong_kind(value, &path, "a text, a whole number, true or false"),
            }
        }
        values
    }

    /// A list; its bad items are told and left out.
    pub(super) fn list<T>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &str,
        each: fn(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        match fields.take(key) {
            Some(node) => self.items(node, &fields.path(key), each),
            None => Vec::new(),
        }
    }

    pub(super) fn items<T>(
        &mut self,
        node: &Node,
        path: &str,
        each: fn(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        let Tree::List(items) = &node.value else {
            self.wrong_kind(node, path, "a list");
            return Vec::new();
        };
        let mut read = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.places.insert(path.clone(), item.place);
            read.extend(each(self, item, &path));
        }
        read
    }
}

/// A list or a mapping is pointed at by its key.
fn value_place(key: &Node, value: &Node) -> Place {
    match value.value {
        Tree::List(_) | Tree::Map(_) | Tree::Null => key.place,
        _ => value.place,
    }
}
