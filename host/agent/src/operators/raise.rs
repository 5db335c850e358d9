//! Errors: what is not refused and should be, what is caught and should not be, or the other way
//! round.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::{Out, Place, function_of};
use crate::candidate::Kind;
use crate::lang::{self, Lang};

/// Errors of Python that stand for each other.
const PYTHON: [&str; 9] = [
    "ValueError",
    "KeyError",
    "TypeError",
    "IndexError",
    "AttributeError",
    "Exception",
    "LookupError",
    "OSError",
    "RuntimeError",
];

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    match (place.lang, node.kind()) {
        (Lang::Python, "except_clause") => {
            let Some(caught) = node.named_child(0).filter(|one| one.kind() != "block") else {
                return;
            };
            let target = match caught.kind() {
                "as_pattern" => caught.named_child(0).unwrap_or(caught),
                _ => caught,
            };
            let said = place.said(target);
            let raised = place.failure.error.as_deref();
            for other in PYTHON.into_iter().filter(|other| !said.contains(other)) {
                let boost = if raised == Some(other) { 6.0 } else { 0.5 };
                let list = if target.kind() == "tuple" {
                    format!("{}, {other})", said.trim_end_matches(')'))
                } else {
                    format!("({said}, {other})")
                };
                out.put(Kind::Raise, 0.12 * boost, target.byte_range(), list);
                out.put(Kind::Raise, 0.12 * boost, target.byte_range(), other);
            }
        }
        (Lang::Python, "raise_statement") => {
            if let Some(call) = node.named_child(0).filter(|one| one.kind() == "call")
                && let Some(name) = call.child_by_field_name("function")
            {
                let wanted = wanted(place);
                let all = PYTHON.iter().map(|one| (*one).to_owned());
                for other in all.chain(wanted.iter().cloned()) {
                    if other != place.said(name) {
                        let weight = if wanted.contains(&other) { 0.4 } else { 0.04 };
                        out.put(Kind::Raise, weight, name.byte_range(), other);
                    }
                }
            }
        }
        (Lang::JavaScript, "throw_statement") => {
            if let Some(new) = node
                .named_child(0)
                .filter(|one| one.kind() == "new_expression")
                && let Some(name) = new.child_by_field_name("constructor")
            {
                for other in ["Error", "TypeError", "RangeError"]
                    .into_iter()
                    .map(str::to_owned)
                    .chain(wanted(place))
                {
                    if other != place.said(name) {
                        out.put(Kind::Raise, 0.15, name.byte_range(), other);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Errors that the tests name.
fn wanted(place: &Place<'_>) -> BTreeSet<String> {
    let error = |name: &&String| {
        name.ends_with("Error")
            || name.ends_with("Exception")
            || place
                .own
                .raised
                .keys()
                .any(|raised| raised.starts_with(name.as_str()))
    };
    place
        .tests
        .names
        .keys()
        .filter(error)
        .filter(|name| *name != "AssertionError")
        .cloned()
        .collect()
}

/// A refusal before a statement: at the beginning of a function, where the tests expect an error
/// that did not come.
pub(super) fn before(
    place: &Place<'_>,
    node: Node<'_>,
    write: &dyn Fn(&str, &str) -> String,
    out: &mut Out<'_>,
) {
    let Some(function) = function_of(place.lang, node) else {
        return;
    };
    let body = function.child_by_field_name("body");
    let top = node.parent() == body;
    if !top {
        return;
    }
    let missed = place.failure.not_raised;
    let scale = if missed { 1.6 } else { 0.12 };
    let at = node.start_byte()..node.start_byte();
    let mut actions: Vec<(String, f64)> = Vec::new();
    match place.lang {
        Lang::Python => {
            // As the file says it already; else bare.
            for raised in place.own.raised.keys().take(4) {
                actions.push((format!("raise {raised}"), 0.3));
            }
            for name in wanted(place) {
                if !place
                    .own
                    .raised
                    .keys()
                    .any(|raised| raised.starts_with(&name))
                {
                    let known =
                        place.own.names.contains_key(&name) || PYTHON.contains(&name.as_str());
                    if known {
                        actions.push((format!("raise {name}(\"invalid value\")"), 0.4));
                    }
                }
            }
        }
        Lang::JavaScript => {
            for raised in place.own.raised.keys().take(4) {
                actions.push((format!("throw {raised}"), 0.3));
            }
            if actions.is_empty() && missed {
                actions.push(("throw new Error('invalid value')".to_owned(), 0.4));
                actions.push(("throw new RangeError('invalid value')".to_owned(), 0.2));
                actions.push(("throw new TypeError('invalid value')".to_owned(), 0.2));
            }
        }
        Lang::Rust => {
            let mut seen = BTreeSet::new();
            for inner in lang::below(function) {
                let said = place.said(inner);
                if place.lang.is_call(inner.kind()) && said.starts_with("Err(") && said.len() < 80 {
                    seen.insert(said.to_owned());
                }
            }
            for inner in lang::below(root(function)) {
                let said = place.said(inner);
                if place.lang.is_call(inner.kind()) && said.starts_with("Err(") && said.len() < 80 {
                    seen.insert(said.to_owned());
                }
            }
            for one in seen.into_iter().take(6) {
                actions.push((format!("return {one}"), 0.35));
            }
        }
    }
    if actions.is_empty() {
        return;
    }
    // The errors of an action are said of names that the place knows.
    let scope = place.scope(node);
    let parameters = crate::facts::parameters(place.lang, place.text, function);
    let mut conditions: Vec<(String, f64)> = Vec::new();
    for name in &parameters {
        let own: &[(&str, f64)] = match place.lang {
            Lang::Python => &[
                ("not {}", 1.0),
                ("{} <= 0", 0.8),
                ("{} < 0", 0.8),
                ("{} is None", 0.4),
                ("not isinstance({}, int)", 0.1),
                ("not isinstance({}, str)", 0.1),
            ],
            Lang::JavaScript => &[
                ("!{}", 0.9),
                ("{} <= 0", 0.8),
                ("{} < 0", 0.8),
                ("{} == null", 0.4),
                ("typeof {} !== 'string'", 0.2),
                ("typeof {} !== 'number'", 0.2),
                ("!Number.isFinite({})", 0.2),
                ("!Number.isInteger({})", 0.2),
            ],
            Lang::Rust => &[("{}.is_empty()", 0.8), ("{} == 0", 0.8), ("{} < 0", 0.4)],
        };
        for (condition, weight) in own {
            conditions.push((condition.replace("{}", name), *weight));
        }
        for other in scope.own.iter().chain(scope.globals.iter()).take(12) {
            let last = other.rsplit('.').next().unwrap_or_default();
            match place.lang {
                Lang::Python => {
                    conditions.push((format!("{name} in {other}"), 0.35));
                    conditions.push((format!("{name} not in {other}"), 0.35));
                    conditions.push((format!("{name} > {other}"), 0.3));
                }
                Lang::JavaScript => {
                    conditions.push((format!("{other}.has({name})"), 0.3));
                    conditions.push((format!("!{other}.has({name})"), 0.3));
                    conditions.push((format!("{name} > {other}"), 0.3));
                }
                Lang::Rust if last.chars().all(|c| c.is_lowercase() || c == '_') => {
                    conditions.push((format!("{name} > {other}"), 0.4));
                    conditions.push((format!("{other}.contains_key(&{name})"), 0.2));
                    conditions.push((format!("!{other}.contains_key(&{name})"), 0.2));
                }
                Lang::Rust => {}
            }
        }
    }
    let first = node.prev_named_sibling().is_none_or(|before| {
        // Behind the documentation.
        before.kind() == "expression_statement" && place.said(before).starts_with(['"', '\''])
    });
    let later = if first { 1.0 } else { 0.25 };
    for (condition, share) in &conditions {
        for (action, weight) in &actions {
            out.put(
                Kind::Raise,
                scale * later * share * weight * 0.5,
                at.clone(),
                write(condition, action),
            );
        }
    }
}

/// The top of the tree that holds a node.
fn root(node: Node<'_>) -> Node<'_> {
    lang::above(node).last().unwrap_or(node)
}
