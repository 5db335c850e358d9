//! A check before something that can fail: what is missing, empty, zero or out of range is
//! answered by a default, skipped or refused.

use std::collections::BTreeSet;

use tree_sitter::Node;

use super::{Out, Place, function_of, is_statement};
use crate::candidate::Kind;
use crate::lang::{self, Lang, indent_at};

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    match place.lang {
        Lang::Python => python(place, node, out),
        Lang::JavaScript => javascript(place, node, out),
        Lang::Rust => rust(place, node, out),
    }
    fresh_entry(place, node, out);
    if is_statement(place.lang, node) && function_of(place.lang, node).is_some() {
        before(place, node, out);
    }
    if let Some(condition) = super::compare::condition(place.lang, node) {
        more(place, condition, out);
    }
}

/// Whether a node is read here, not written or deleted.
fn is_read(node: Node<'_>) -> bool {
    let Some(up) = node.parent() else {
        return false;
    };
    let target = up.child_by_field_name("left") == Some(node) && up.kind().contains("assignment");
    !target && !matches!(up.kind(), "delete_statement" | "reference_expression")
}

fn python(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let failure = place.failure;
    match node.kind() {
        "subscript" if is_read(node) => {
            let (Some(value), Some(key)) = (
                node.child_by_field_name("value"),
                node.child_by_field_name("subscript"),
            ) else {
                return;
            };
            if matches!(key.kind(), "slice" | "integer" | "unary_operator") {
                let boost = if failure.says("IndexError") { 3.0 } else { 0.6 };
                let (value, said) = (place.said(value), place.said(node));
                for default in ["None", "0", "\"\""] {
                    let text = format!("({said} if {value} else {default})");
                    out.put(Kind::Guard, 0.12 * boost, node.byte_range(), text);
                }
                return;
            }
            let (value, key) = (place.said(value), place.said(key));
            let boost = if failure.says("KeyError") { 3.0 } else { 0.4 };
            out.put(
                Kind::Guard,
                0.35 * boost,
                node.byte_range(),
                format!("{value}.get({key})"),
            );
            for (default, weight) in [("[]", 0.3), ("{}", 0.2), ("0", 0.1)] {
                let text = format!("{value}.setdefault({key}, {default})");
                out.put(Kind::Guard, weight * boost, node.byte_range(), text);
            }
            for (default, weight) in [
                ("0", 0.25),
                ("[]", 0.2),
                ("{}", 0.15),
                ("\"\"", 0.15),
                ("False", 0.05),
                ("1", 0.05),
            ] {
                let text = format!("{value}.get({key}, {default})");
                out.put(Kind::Guard, weight * boost, node.byte_range(), text);
            }
        }
        "binary_operator" => {
            let operator = node
                .child_by_field_name("operator")
                .map_or("", |one| place.said(one));
            let Some(right) = node.child_by_field_name("right") else {
                return;
            };
            if matches!(operator, "/" | "//" | "%") && !place.lang.is_number(right.kind()) {
                let boost = if failure.says("ZeroDivisionError") {
                    4.0
                } else {
                    0.3
                };
                let (said, right) = (place.said(node), place.said(right));
                for (default, weight) in [("0", 0.3), ("0.0", 0.2), ("None", 0.1)] {
                    let text = format!("({said} if {right} else {default})");
                    out.put(Kind::Guard, weight * boost, node.byte_range(), text);
                }
                out.put(
                    Kind::Guard,
                    0.1 * boost,
                    right_range(node),
                    format!("({right} or 1)"),
                );
                out.put(
                    Kind::Guard,
                    0.1 * boost,
                    right_range(node),
                    format!("max({right}, 1)"),
                );
            }
        }
        "attribute" if is_read(node) => {
            let none = failure.says("'NoneType'");
            let Some(object) = node.child_by_field_name("object") else {
                return;
            };
            let holder = place.said(object);
            if !none || matches!(holder, "self" | "cls") {
                return;
            }
            let whole = node
                .parent()
                .filter(|up| place.lang.is_call(up.kind()))
                .unwrap_or(node);
            let said = place.said(whole);
            for (default, weight) in [
                ("None", 0.4),
                ("\"\"", 0.3),
                ("0", 0.2),
                ("[]", 0.2),
                ("False", 0.1),
            ] {
                let text = format!("({said} if {holder} is not None else {default})");
                out.put(Kind::Guard, weight, whole.byte_range(), text);
            }
            for (default, weight) in [("\"\"", 0.35), ("[]", 0.2), ("{}", 0.2)] {
                out.put(
                    Kind::Guard,
                    weight,
                    object.byte_range(),
                    format!("({holder} or {default})"),
                );
            }
        }
        "identifier" | "call" if failure.says("'NoneType'") || failure.says("TypeError") => {
            let used = node.parent().is_some_and(|up| {
                matches!(
                    up.kind(),
                    "argument_list"
                        | "binary_operator"
                        | "for_statement"
                        | "assignment"
                        | "for_in_clause"
                ) && up.child_by_field_name("left") != Some(node)
                    || up.kind() == "binary_operator"
            });
            if used {
                let said = place.said(node);
                for (default, weight) in [("0", 0.15), ("[]", 0.15), ("\"\"", 0.12), ("{}", 0.08)] {
                    out.put(
                        Kind::Guard,
                        weight,
                        node.byte_range(),
                        format!("({said} or {default})"),
                    );
                }
            }
        }
        _ => {}
    }
}

/// `d[k].append(x)` where `d` has no `k` yet.
fn fresh_entry(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let missing = ["KeyError", "of undefined", "NaN", "undefined"]
        .iter()
        .any(|word| place.failure.says(word));
    let boost = if missing { 3.0 } else { 0.3 };
    match (place.lang, node.kind()) {
        (Lang::Python, "subscript") => {
            let (Some(value), Some(key)) = (
                node.child_by_field_name("value"),
                node.child_by_field_name("subscript"),
            ) else {
                return;
            };
            let method = node
                .next_sibling()
                .and_then(|dot| dot.next_sibling())
                .map_or("", |method| place.said(method));
            let empty = match method {
                "append" | "extend" | "insert" => "[]",
                "add" => "set()",
                "update" | "setdefault" | "get" => "{}",
                _ => return,
            };
            let text = format!(
                "{}.setdefault({}, {empty})",
                place.said(value),
                place.said(key)
            );
            out.put(Kind::Guard, 0.5 * boost, node.byte_range(), text);
        }
        (Lang::Python, "augmented_assignment") => {
            let (Some(left), Some(right), Some(operator)) = (
                node.child_by_field_name("left")
                    .filter(|left| left.kind() == "subscript"),
                node.child_by_field_name("right"),
                node.child_by_field_name("operator"),
            ) else {
                return;
            };
            let (Some(value), Some(key)) = (
                left.child_by_field_name("value"),
                left.child_by_field_name("subscript"),
            ) else {
                return;
            };
            let (said, value, key) = (place.said(left), place.said(value), place.said(key));
            let sign = place.said(operator).trim_end_matches('=');
            let text = format!(
                "{said} = {value}.get({key}, 0) {sign} {}",
                place.said(right)
            );
            out.put(Kind::Guard, 0.5 * boost, node.byte_range(), text);
        }
        (Lang::JavaScript, "subscript_expression") => {
            let member = node.parent().filter(|up| up.kind() == "member_expression");
            let method = member
                .and_then(|up| up.child_by_field_name("property"))
                .map_or("", |method| place.said(method));
            let fills = matches!(method, "push" | "unshift" | "concat");
            let nested = node
                .parent()
                .is_some_and(|up| up.kind() == "subscript_expression");
            let empty = if fills {
                "[]"
            } else if nested {
                "{}"
            } else {
                return;
            };
            let said = place.said(node);
            let text = format!("({said} = {said} || {empty})");
            out.put(Kind::Guard, 0.5 * boost, node.byte_range(), text);
        }
        (Lang::JavaScript, "augmented_assignment_expression") => {
            let (Some(left), Some(right), Some(operator)) = (
                node.child_by_field_name("left")
                    .filter(|left| left.kind() == "subscript_expression"),
                node.child_by_field_name("right"),
                node.child_by_field_name("operator"),
            ) else {
                return;
            };
            let (said, sign) = (place.said(left), place.said(operator).trim_end_matches('='));
            let text = format!("{said} = ({said} || 0) {sign} {}", place.said(right));
            out.put(Kind::Guard, 0.5 * boost, node.byte_range(), text);
        }
        _ => {}
    }
}

fn right_range(node: Node<'_>) -> std::ops::Range<usize> {
    node.child_by_field_name("right")
        .map_or_else(|| node.byte_range(), |right| right.byte_range())
}

fn javascript(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let failure = place.failure;
    let missing =
        failure.says("of undefined") || failure.says("of null") || failure.says("is not iterable");
    let boost = if missing { 3.0 } else { 0.25 };
    match node.kind() {
        "member_expression" if is_read(node) => {
            let (Some(object), Some(property)) = (
                node.child_by_field_name("object"),
                node.child_by_field_name("property"),
            ) else {
                return;
            };
            let between = lang::cut(place.text, object.end_byte()..property.start_byte());
            let holder = place.said(object);
            if between.trim() != "."
                || matches!(
                    holder,
                    "this"
                        | "Math"
                        | "Object"
                        | "JSON"
                        | "Array"
                        | "console"
                        | "module"
                        | "Number"
                        | "Promise"
                        | "process"
                )
            {
                return;
            }
            let dot = object.end_byte() + between.find('.').unwrap_or(0);
            out.put(Kind::Guard, 0.35 * boost, dot..dot + 1, "?.");
            let whole = node
                .parent()
                .filter(|up| place.lang.is_call(up.kind()))
                .unwrap_or(node);
            let tail = lang::cut(place.text, property.start_byte()..whole.end_byte());
            for (default, weight) in [
                ("''", 0.25),
                ("0", 0.25),
                ("null", 0.2),
                ("[]", 0.2),
                ("false", 0.1),
            ] {
                let text = format!("({holder}?.{tail} ?? {default})");
                out.put(Kind::Guard, weight * boost, whole.byte_range(), text);
            }
            for default in ["[]", "{}", "''"] {
                out.put(
                    Kind::Guard,
                    0.2 * boost,
                    object.byte_range(),
                    format!("({holder} || {default})"),
                );
            }
        }
        "subscript_expression" if is_read(node) => {
            let said = place.said(node);
            for (default, weight) in [
                ("0", 0.3),
                ("[]", 0.2),
                ("''", 0.12),
                ("null", 0.12),
                ("{}", 0.1),
            ] {
                let boost = if missing || failure.says("NaN") || failure.says("undefined") {
                    2.0
                } else {
                    0.3
                };
                out.put(
                    Kind::Guard,
                    weight * boost,
                    node.byte_range(),
                    format!("({said} || {default})"),
                );
            }
        }
        "call_expression" | "identifier"
            if missing || failure.says("NaN") || failure.says("undefined") =>
        {
            let used = node.parent().is_some_and(|up| {
                matches!(
                    up.kind(),
                    "binary_expression" | "for_in_statement" | "spread_element"
                ) && up.child_by_field_name("left") != Some(node)
                    || up.kind() == "binary_expression"
                    || up.kind() == "variable_declarator"
                        && up.child_by_field_name("value") == Some(node)
                    || up.kind() == "arguments"
            });
            if used && (node.kind() == "call_expression" || failure.says("NaN")) {
                let said = place.said(node);
                for (default, weight) in [("0", 0.3), ("[]", 0.2), ("''", 0.1), ("{}", 0.1)] {
                    out.put(
                        Kind::Guard,
                        weight,
                        node.byte_range(),
                        format!("({said} || {default})"),
                    );
                }
            }
        }
        "binary_expression" => {
            let operator = node
                .child_by_field_name("operator")
                .map_or("", |one| place.said(one));
            let right = node.child_by_field_name("right");
            if matches!(operator, "/" | "%")
                && let Some(right) = right
                && !place.lang.is_number(right.kind())
            {
                let boost = if failure.says("NaN") || failure.says("Infinity") {
                    4.0
                } else {
                    0.3
                };
                let (said, right) = (place.said(node), place.said(right));
                for (default, weight) in [("0", 0.35), ("null", 0.1)] {
                    let text = format!("({right} ? {said} : {default})");
                    out.put(Kind::Guard, weight * boost, node.byte_range(), text);
                }
            }
        }
        _ => {}
    }
}

fn rust(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let failure = place.failure;
    if node.kind() != "binary_expression" {
        return;
    }
    let operator = node
        .child_by_field_name("operator")
        .map_or("", |one| place.said(one));
    let (Some(left), Some(right)) = (
        node.child_by_field_name("left"),
        node.child_by_field_name("right"),
    ) else {
        return;
    };
    let (a, b) = (place.said(left), place.said(right));
    let plain = matches!(
        left.kind(),
        "identifier" | "field_expression" | "call_expression" | "index_expression"
    );
    let held = if plain {
        a.to_owned()
    } else {
        format!("({a})")
    };
    let overflow = failure.says("with overflow");
    match operator {
        "-" | "+" | "*" => {
            let word = match operator {
                "-" => "sub",
                "+" => "add",
                _ => "mul",
            };
            let boost = if overflow { 2.5 } else { 0.15 };
            for (how, weight) in [("saturating", 0.6), ("wrapping", 0.25)] {
                let text = format!("{held}.{how}_{word}({b})");
                out.put(Kind::Guard, weight * boost, node.byte_range(), text);
            }
            if operator == "-" {
                out.put(
                    Kind::Guard,
                    0.3 * boost,
                    node.byte_range(),
                    format!("{held}.abs_diff({b})"),
                );
            }
        }
        "/" | "%" => {
            let boost = if failure.says("by zero") || failure.says("divisor of zero") {
                4.0
            } else {
                0.2
            };
            let text = format!("if {b} == 0 {{ 0 }} else {{ {a} {operator} {b} }}");
            out.put(
                Kind::Guard,
                0.4 * boost,
                node.byte_range(),
                format!("({text})"),
            );
            let word = if operator == "/" { "div" } else { "rem" };
            out.put(
                Kind::Guard,
                0.2 * boost,
                node.byte_range(),
                format!("{held}.checked_{word}({b}).unwrap_or(0)"),
            );
        }
        _ => {}
    }
}

/// What a statement or a function begins to use and may be missing.
fn watched(place: &Place<'_>, node: Node<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let scope = place.scope(node);
    for inner in lang::below(node) {
        let said = place.said(inner);
        let member = matches!(
            inner.kind(),
            "attribute" | "member_expression" | "field_expression"
        ) && scope.own.contains(said);
        let local = inner.kind() == "identifier" && scope.locals.contains(said);
        if (local || member) && names.len() < 6 {
            names.insert(said.to_owned());
        }
    }
    names
}

/// What a function gives back when there is nothing to do, the likeliest first.
fn defaults(place: &Place<'_>, node: Node<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let Some(function) = function_of(place.lang, node) else {
        return found;
    };
    let mut add = |text: &str| {
        if !found.iter().any(|one| one == text) {
            found.push(text.to_owned());
        }
    };
    for inner in lang::below(function) {
        if matches!(inner.kind(), "return_statement" | "return_expression")
            && let Some(value) = inner.named_child(0)
            && value.child_count() <= 2
            && value.byte_range().len() < 30
            && !matches!(value.kind(), "call" | "call_expression")
        {
            add(place.said(value));
        }
    }
    let usual: &[&str] = match place.lang {
        Lang::Python => &["None", "0", "[]", "False", "\"\"", "{}", "True", "0.0"],
        Lang::JavaScript => &["null", "0", "[]", "false", "''", "undefined", "{}", "true"],
        Lang::Rust => &[
            "None",
            "0",
            "Vec::new()",
            "false",
            "String::new()",
            "0.0",
            "Ok(())",
            "Default::default()",
        ],
    };
    for one in usual {
        add(one);
    }
    found.truncate(8);
    found
}

fn before(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let indent = indent_at(place.text, node.start_byte());
    let step = if place.text.contains("\n\t") {
        "\t"
    } else if place.lang == Lang::JavaScript
        && place.text.contains("\n  ")
        && !place.text.contains("\n    ")
    {
        "  "
    } else {
        "    "
    };
    let in_loop = lang::above(node)
        .take_while(|up| !place.lang.is_function(up.kind()))
        .any(|up| place.lang.is_loop(up.kind()));
    let at = node.start_byte()..node.start_byte();
    let write = |condition: &str, action: &str| match place.lang {
        Lang::Python => format!("if {condition}:\n{indent}{step}{action}\n{indent}"),
        Lang::JavaScript => {
            format!("if ({condition}) {{\n{indent}{step}{action};\n{indent}}}\n{indent}")
        }
        Lang::Rust => format!("if {condition} {{\n{indent}{step}{action};\n{indent}}}\n{indent}"),
    };
    let strong = [
        "IndexError",
        "ZeroDivision",
        "NoneType",
        "StopIteration",
        "of undefined",
        "of null",
        "out of bounds",
        "by zero",
        "max()",
        "min()",
        "empty",
        "KeyError",
        "RecursionError",
        "Maximum call",
        "NaN",
        "divisor of zero",
    ]
    .iter()
    .any(|word| place.failure.says(word));
    let boost = if strong { 1.5 } else { 0.5 };
    for name in watched(place, node) {
        for (condition, share) in conditions(place.lang, &name) {
            let mut weight = 0.16 * share * boost;
            for default in defaults(place, node) {
                out.put(
                    Kind::Guard,
                    weight,
                    at.clone(),
                    write(&condition, &format!("return {default}")),
                );
                weight *= 0.8;
            }
            if in_loop {
                out.put(
                    Kind::Guard,
                    0.18 * share * boost,
                    at.clone(),
                    write(&condition, "continue"),
                );
                out.put(
                    Kind::Guard,
                    0.08 * share * boost,
                    at.clone(),
                    write(&condition, "break"),
                );
            }
        }
    }
    super::raise::before(place, node, &write, out);
}

fn conditions(lang: Lang, name: &str) -> Vec<(String, f64)> {
    match lang {
        Lang::Python => vec![
            (format!("not {name}"), 1.0),
            (format!("{name} is None"), 0.6),
            (format!("{name} <= 0"), 0.25),
        ],
        Lang::JavaScript => vec![
            (format!("!{name}"), 0.8),
            (format!("{name} == null"), 0.5),
            (format!("!{name} || {name}.length === 0"), 0.4),
            (format!("{name} <= 0"), 0.2),
        ],
        Lang::Rust => vec![
            (format!("{name}.is_empty()"), 0.8),
            (format!("{name} == 0"), 0.6),
        ],
    }
}

/// One condition more, of names that the place can see.
fn more(place: &Place<'_>, condition: Node<'_>, out: &mut Out<'_>) {
    let said = place.said(condition);
    let compound = matches!(condition.kind(), "boolean_operator" | "binary_expression");
    let held = if compound && (said.contains(" or ") || said.contains("||")) {
        format!("({said})")
    } else {
        said.to_owned()
    };
    let (and, or) = match place.lang {
        Lang::Python => ("and", "or"),
        _ => ("&&", "||"),
    };
    let mut parts: Vec<(String, f64)> = Vec::new();
    for name in watched(place, condition) {
        let tests = match place.lang {
            Lang::Python => vec![name.clone(), format!("{name} is not None")],
            Lang::JavaScript => vec![name.clone(), format!("{name} != null")],
            Lang::Rust => vec![format!("!{name}.is_empty()"), format!("{name} > 0")],
        };
        for one in tests {
            parts.push((one, 0.15));
        }
    }
    for (part, weight) in parts {
        if part != said {
            out.put(
                Kind::Condition,
                weight,
                condition.byte_range(),
                format!("{part} {and} {held}"),
            );
        }
    }
    // What other conditions of the same function ask.
    let Some(function) = function_of(place.lang, condition) else {
        return;
    };
    let mut seen = BTreeSet::new();
    for other in lang::below(function) {
        if let Some(other) = super::compare::condition(place.lang, other)
            && other.byte_range() != condition.byte_range()
            && other.byte_range().len() < 60
        {
            seen.insert(place.said(other).to_owned());
        }
    }
    // What names of the place could be asked for.
    let scope = place.scope(condition);
    if place.lang == Lang::Python {
        for name in scope
            .locals
            .iter()
            .filter(|name| !said.contains(name.as_str()))
            .take(4)
        {
            seen.insert(name.clone());
            seen.insert(format!("not {name}"));
        }
    } else if place.lang == Lang::JavaScript {
        for name in scope
            .locals
            .iter()
            .filter(|name| !said.contains(name.as_str()))
            .take(4)
        {
            seen.insert(name.clone());
            seen.insert(format!("!{name}"));
        }
    }
    for other in seen.into_iter().take(10) {
        out.put(
            Kind::Condition,
            0.07,
            condition.byte_range(),
            format!("{held} {and} {other}"),
        );
        out.put(
            Kind::Condition,
            0.07,
            condition.byte_range(),
            format!("{said} {or} {other}"),
        );
    }
}
