//! Statements that stand nowhere in the file: a value that is never given, a container that is
//! never filled or emptied, a result of the object's own that is left out of a sum.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::{Out, Place, function_of, is_statement};
use crate::candidate::Kind;
use crate::facts::unread;
use crate::lang::{self, Lang, indent_at};

/// Containers and values for one place.
const MOST: usize = 6;

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    if matches!(
        node.kind(),
        "class_definition" | "class_declaration" | "class"
    ) {
        members(place, node, out);
    }
    if is_statement(place.lang, node) && function_of(place.lang, node).is_some() {
        fresh(place, node, out);
        effects(place, node, out);
    }
    sums(place, node, out);
}

fn end(lang: Lang) -> &'static str {
    if lang == Lang::Python { "" } else { ";" }
}

/// Members that are read and never given a value: they begin in the constructor.
fn members(place: &Place<'_>, class: Node<'_>, out: &mut Out<'_>) {
    let (object, begins): (&str, &[&str]) = match place.lang {
        Lang::Python => (
            "self.",
            &["{}", "[]", "0", "None", "set()", "\"\"", "False"],
        ),
        Lang::JavaScript => (
            "this.",
            &[
                "{}",
                "[]",
                "0",
                "null",
                "new Map()",
                "new Set()",
                "''",
                "false",
            ],
        ),
        Lang::Rust => return,
    };
    let mut read = BTreeSet::new();
    let mut given = BTreeSet::new();
    let mut constructor = None;
    for inner in lang::below(class) {
        let said = place.said(inner);
        if matches!(inner.kind(), "attribute" | "member_expression") && said.starts_with(object) {
            let up = inner.parent();
            let target = up.is_some_and(|up| {
                up.kind().contains("assignment") && up.child_by_field_name("left") == Some(inner)
            });
            let called = up.is_some_and(|up| {
                place.lang.is_call(up.kind()) && up.child_by_field_name("function") == Some(inner)
            });
            if target {
                given.insert(said.to_owned());
            } else if !called && said.matches('.').count() == 1 {
                read.insert(said.to_owned());
            }
        }
        if let Some(name) = inner.child_by_field_name("name") {
            let name = place.said(name);
            if matches!(name, "__init__" | "constructor") {
                constructor = inner.child_by_field_name("body");
            }
            // Methods and class members need no constructor.
            given.insert(format!("{object}{name}"));
        }
        if inner.kind() == "assignment"
            && let Some(left) = inner.child_by_field_name("left")
        {
            given.insert(format!("{object}{}", place.said(left)));
        }
    }
    let statements = constructor.map(lang::named).unwrap_or_default();
    let Some(last) = statements.last() else {
        return;
    };
    let indent = indent_at(place.text, last.start_byte());
    for member in read.difference(&given).take(MOST) {
        for begin in begins {
            let text = format!("\n{indent}{member} = {begin}{}", end(place.lang));
            out.put(
                Kind::Assignment,
                1.5,
                last.end_byte()..last.end_byte(),
                text,
            );
        }
    }
}

/// A name that is unknown gets a value at the beginning of its function.
fn fresh(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let (word, begins): (&str, &[&str]) = match place.lang {
        Lang::Python => ("", &["0", "[]", "{}", "None", "\"\"", "False", "1"]),
        Lang::JavaScript => ("let ", &["0", "[]", "{}", "null", "''", "false", "1"]),
        Lang::Rust => ("let mut ", &["0", "Vec::new()", "String::new()", "false"]),
    };
    let function = function_of(place.lang, node);
    let body = function.and_then(|function| function.child_by_field_name("body"));
    let first = body == node.parent()
        && node
            .prev_named_sibling()
            .is_none_or(|before| before.kind() == "comment");
    if !first {
        return;
    }
    let Some(body) = body else { return };
    let indent = indent_at(place.text, node.start_byte());
    for name in &place.failure.unknown {
        let used = lang::below(body)
            .into_iter()
            .any(|inner| inner.kind() == "identifier" && place.said(inner) == name);
        if used {
            for begin in begins {
                let text = format!("{word}{name} = {begin}{}\n{indent}", end(place.lang));
                out.put(
                    Kind::Assignment,
                    1.5,
                    node.start_byte()..node.start_byte(),
                    text,
                );
            }
        }
    }
}

/// What is done to containers and counters of the object, with values that the place can see.
fn effects(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let scope = place.scope(node);
    let indent = indent_at(place.text, node.start_byte());
    let semicolon = end(place.lang);
    let holders: Vec<&String> = scope.own.iter().take(MOST).collect();
    let unread = unread(place.lang, place.text, node);
    let mut values: Vec<(&String, f64)> = scope
        .locals
        .iter()
        .map(|name| (name, if unread.contains(name) { 3.0 } else { 1.0 }))
        .collect();
    values.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    values.truncate(MOST);
    let mut made: Vec<(String, f64)> = Vec::new();
    let with_value: &[&str] = match place.lang {
        Lang::Python => &[
            "{c}.append({v})",
            "{c}.add({v})",
            "{c}.remove({v})",
            "del {c}[{v}]",
            "{c}.pop({v}, None)",
            "{c} += {v}",
            "{c} -= {v}",
            "{c} = {v}",
        ],
        Lang::JavaScript => &[
            "{c}.push({v})",
            "{c}.add({v})",
            "{c}.delete({v})",
            "delete {c}[{v}]",
            "{c}.splice({v}, 1)",
            "{c} += {v}",
            "{c} -= {v}",
            "{c} = {v}",
        ],
        Lang::Rust => &[
            "{c}.push({v})",
            "{c}.insert({v})",
            "{c}.remove(&{v})",
            "{c} += {v}",
            "{c} -= {v}",
        ],
    };
    let alone: &[&str] = match place.lang {
        Lang::Python => &[
            "{c}.pop(0)",
            "{c}.pop()",
            "{c}.clear()",
            "{c} += 1",
            "{c} -= 1",
        ],
        Lang::JavaScript => &[
            "{c}.shift()",
            "{c}.pop()",
            "{c}.clear()",
            "{c} += 1",
            "{c} -= 1",
        ],
        Lang::Rust => &["{c}.pop()", "{c}.clear()", "{c} += 1", "{c} -= 1"],
    };
    for holder in &holders {
        for form in alone {
            made.push((form.replace("{c}", holder), 0.05));
        }
        for (value, hint) in &values {
            for form in with_value {
                made.push((
                    form.replace("{c}", holder).replace("{v}", value),
                    0.05 * hint,
                ));
            }
        }
    }
    // Two values of the place: an entry of the object, a counter of the function.
    for holder in &holders {
        for (key, hint) in values.iter().take(4) {
            for (value, _) in values.iter().take(4).filter(|(value, _)| value != key) {
                let text = if place.lang == Lang::Rust {
                    format!("{holder}.insert({key}, {value})")
                } else {
                    format!("{holder}[{key}] = {value}")
                };
                made.push((text, 0.03 * hint));
            }
        }
    }
    let after = matches!(
        node.kind(),
        "return_statement" | "raise_statement" | "throw_statement"
    );
    for (text, weight) in made {
        let before = node.start_byte()..node.start_byte();
        out.put(
            Kind::Insert,
            weight,
            before,
            format!("{text}{semicolon}\n{indent}"),
        );
        if !after && node.next_named_sibling().is_none() && place.lang != Lang::Rust {
            let behind = node.end_byte()..node.end_byte();
            out.put(
                Kind::Insert,
                weight,
                behind,
                format!("\n{indent}{text}{semicolon}"),
            );
        }
    }
}

/// A term more in what is returned or kept: a method of the object that nobody calls, or a name
/// that nobody reads.
fn sums(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let value = match node.kind() {
        "return_statement" => node.named_child(0),
        "assignment"
        | "assignment_expression"
        | "augmented_assignment"
        | "augmented_assignment_expression" => node.child_by_field_name("right"),
        "variable_declarator" | "let_declaration" => node.child_by_field_name("value"),
        _ => None,
    };
    let number = |kind: &str| {
        place.lang.is_number(kind)
            || matches!(
                kind,
                "identifier"
                    | "attribute"
                    | "member_expression"
                    | "binary_operator"
                    | "binary_expression"
                    | "call"
                    | "call_expression"
                    | "field_expression"
            )
    };
    let Some(value) = value.filter(|value| number(value.kind())) else {
        return;
    };
    let said = place.said(value);
    let mut terms: Vec<(String, f64)> = unread(place.lang, place.text, node)
        .into_iter()
        .map(|name| (name, 0.4))
        .collect();
    let object = if place.lang == Lang::JavaScript {
        "this"
    } else {
        "self"
    };
    for (name, parameters) in &place.own.functions {
        let called = place.own.methods.contains_key(name) || place.own.unary.contains_key(name);
        if parameters.is_empty() && !name.starts_with("__") && name != "constructor" {
            terms.push((
                format!("{object}.{name}()"),
                if called { 0.04 } else { 0.35 },
            ));
        }
    }
    for (term, weight) in terms.into_iter().take(MOST * 2) {
        for (sign, share) in [("+", 1.0), ("-", 0.7), ("*", 0.5)] {
            let held = if sign == "*" && value.child_count() > 0 {
                format!("({said})")
            } else {
                said.to_owned()
            };
            out.put(
                Kind::Arithmetic,
                weight * share,
                value.byte_range(),
                format!("{held} {sign} {term}"),
            );
        }
    }
}
