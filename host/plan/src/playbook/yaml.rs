//! YAML to a tree whose every node knows its place. The only file that names the YAML crate;
//! it must not know what a playbook is.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::diagnostic::Place;

/// Largest file, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Most nodes, aliases counted as often as they are used.
const MAX_NODES: usize = 20_000;
/// Deepest nesting.
const MAX_NESTING: usize = 24;

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Tree,
    pub place: Place,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Null,
    Flag(bool),
    Integer(i64),
    /// Kept as it was written: Grace has no floats.
    Float(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Tree {
    pub fn words(&self) -> &'static str {
        match self {
            Tree::Null => "nothing",
            Tree::Flag(_) => "true or false",
            Tree::Integer(_) => "a whole number",
            Tree::Float(_) => "a number",
            Tree::Text(_) => "a text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a mapping",
        }
    }
}

/// Why a text is no YAML, and where.
pub(crate) struct Fault {
    pub place: Place,
    pub message: String,
}

/// The tree of a text.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is larger than {} KiB", MAX_BYTES / 1024);
        return Err(Fault {
            place: Place::default(),
            message,
        });
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_depth: MAX_NESTING,
        },
    };
    let read: Result<Spanned<Raw>, _> = serde_saphyr::from_str_with_options(text, options);
    match read {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => {
            let place = error
                .location()
                .map(|at| place(&at, text))
                .unwrap_or_default();
            Err(Fault {
                place,
                message: without_place(&error.to_string()),
            })
        }
    }
}

/// The crate speaks to programmers and says the place at the end; here it is kept apart.
fn without_place(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or_default();
    let first = first.trim_start_matches("error: ").trim();
    if let Some(rest) = first.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(',').next().unwrap_or(rest);
        return format!("the key `{key}` is there twice");
    }
    if first.starts_with("recursive references") {
        return "an alias cannot contain itself".to_owned();
    }
    if first.starts_with("multiple YAML documents") {
        return "a file holds one playbook, and `---` began another".to_owned();
    }
    if first.starts_with("budget breached") {
        return format!("too large: at most {MAX_NODES} values, nested at most {MAX_NESTING} deep");
    }
    first.to_owned()
}

fn place(at: &serde_saphyr::Location, text: &str) -> Place {
    let number = |value: u64| u32::try_from(value).unwrap_or(0);
    let line = number(at.line());
    let column = number(at.column());
    let span = at.span();
    let wide = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok());
    let offset = wide(span.byte_offset()).unwrap_or_else(|| offset_of(text, line, column));
    let length = wide(span.byte_len()).unwrap_or(0);
    Place {
        line,
        column,
        offset,
        length: length.min(text.len().saturating_sub(offset)),
    }
}

fn offset_of(text: &str, line: u32, column: u32) -> usize {
    let skip = |value: u32| usize::try_from(value.saturating_sub(1)).unwrap_or(0);
    let mut offset = 0;
    for part in text.split_inclusive('\n').take(skip(line)) {
        offset += part.len();
    }
    let rest = text.get(offset..).unwrap_or_default();
    offset
        + rest
            .chars()
            .take(skip(column))
            .map(char::len_utf8)
            .sum::<usize>()
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let place = place(&raw.referenced, text);
    let value = match raw.value {
        Raw::Null => Tree::Null,
        Raw::Flag(flag) => Tree::Flag(flag),
        Raw::Integer(number) => Tree::Integer(number),
        Raw::Float(number) => {
            let written = text
                .get(place.offset..place.offset + place.length)
                .unwrap_or("")
                .trim();
            let same = written
                .parse::<f64>()
                .is_ok_and(|value| value.to_bits() == number.to_bits());
            Tree::Float(if same {
                written.to_owned()
            } else {
                number.to_string()
            })
        }
        Raw::Text(text) => Tree::Text(text),
        Raw::List(items) => Tree::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Tree::Map(
            entries
                .into_iter()
                .map(|(key, value)| (node(key, text), node(value, text)))
                .collect(),
        ),
    };
    Node { value, place }
}

enum Raw {
    Null,
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<Raw, D::Error> {
        Raw::deserialize(inner)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Raw, E> {
        Ok(Raw::Flag(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(i64::try_from(number).map_or_else(|_| Raw::Text(number.to_string()), Raw::Integer))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw::Float(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key()? {
            entries.push((key, access.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}
