//! Calls: their arguments in another order, one less or another; a call more or less around a
//! value; an access that tolerates what is missing.

use tree_sitter::Node;

use super::{Out, Place};
use crate::candidate::Kind;
use crate::facts::arguments;
use crate::lang::{self, Lang};

/// Other arguments for one argument.
const MOST: usize = 8;

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    if place.lang.is_call(node.kind()) {
        given(place, node, out);
        less(place, node, out);
        keywords(place, node, out);
    }
    match node.kind() {
        "await" | "await_expression" => {
            if let Some(inner) = node.named_child(0) {
                out.put(Kind::Call, 0.3, node.byte_range(), place.said(inner));
            }
        }
        "slice" => slice(place, node, out),
        "unary_expression" if place.said(node).starts_with('*') => {}
        _ => {}
    }
    if is_value(place, node) {
        more(place, node, out);
    }
}

fn given(place: &Place<'_>, call: Node<'_>, out: &mut Out<'_>) {
    let arguments = arguments(call);
    for pair in arguments.windows(2) {
        let [a, b] = pair else { continue };
        let (one, other) = (place.said(*a), place.said(*b));
        let plain = a.kind() != "keyword_argument" && b.kind() != "keyword_argument";
        if one != other && plain {
            let swapped = vec![
                (a.byte_range(), other.to_owned()),
                (b.byte_range(), one.to_owned()),
            ];
            out.both(Kind::Argument, 0.7, swapped);
        }
    }
    if let [a, _, c] = arguments.as_slice() {
        let ends = vec![
            (a.byte_range(), place.said(*c).to_owned()),
            (c.byte_range(), place.said(*a).to_owned()),
        ];
        out.both(Kind::Argument, 0.15, ends);
    }
    for (at, argument) in arguments.iter().enumerate() {
        let from = match at.checked_sub(1).and_then(|before| arguments.get(before)) {
            Some(before) => before.end_byte(),
            None => argument.start_byte(),
        };
        let to = match arguments.get(at + 1) {
            Some(next) if at == 0 => next.start_byte(),
            _ => argument.end_byte(),
        };
        if arguments.len() > 1 {
            out.put(Kind::Argument, 0.2, from..to, "");
        }
        let simple = argument.child_count() == 0 || argument.kind() == "attribute";
        if simple {
            let said = place.said(*argument);
            for (new, weight) in [(format!("{said} + 1"), 0.25), (format!("{said} - 1"), 0.25)] {
                if !place.lang.is_text(argument.kind()) && argument.kind() == "identifier" {
                    out.put(Kind::Arithmetic, weight, argument.byte_range(), new);
                }
            }
        }
    }
    // One more, from what the place can see: `range(n)` to `range(1, n)`, `int(x)` to `int(x, 16)`.
    let function = call
        .child_by_field_name("function")
        .map_or("", |function| place.said(function));
    let list = call.child_by_field_name("arguments");
    let Some(list) = list else { return };
    let start = list.start_byte() + 1;
    let end = list.end_byte().saturating_sub(1);
    if function == "range" {
        if let [only] = arguments.as_slice() {
            let said = place.said(*only);
            for new in [
                format!("1, {said}"),
                format!("1, {said} + 1"),
                format!("{said} + 1"),
                format!("{said} - 1"),
                format!("0, {said}, 2"),
            ] {
                out.put(Kind::Argument, 0.3, start..end, new);
            }
        } else if let [first, last, ..] = arguments.as_slice() {
            for (node, sign) in [(first, "+"), (first, "-"), (last, "+"), (last, "-")] {
                let said = place.said(*node);
                out.put(
                    Kind::Argument,
                    0.3,
                    node.byte_range(),
                    format!("{said} {sign} 1"),
                );
            }
        }
    }
    let known = place
        .all
        .functions
        .get(function.rsplit('.').next().unwrap_or_default());
    let missing = known.is_some_and(|parameters| parameters.len() > arguments.len());
    if missing && let Some(parameters) = known {
        let scope = place.scope(call);
        let wanted = parameters.get(arguments.len()).cloned().unwrap_or_default();
        let seen = scope.locals.iter().chain(&scope.own).chain(&scope.globals);
        let mut names: Vec<(&String, f64)> = seen
            .map(|name| {
                let last = name.rsplit('.').next().unwrap_or_default();
                (name, crate::facts::alike(&wanted, last))
            })
            .collect();
        names.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let comma = if arguments.is_empty() { "" } else { ", " };
        for (name, likeness) in names.into_iter().take(MOST) {
            let weight = 0.1 + 0.5 * likeness;
            out.put(Kind::Argument, weight, end..end, format!("{comma}{name}"));
        }
    }
}

/// The call gone: its receiver or its only argument stays.
fn less(place: &Place<'_>, call: Node<'_>, out: &mut Out<'_>) {
    let arguments = arguments(call);
    let function = call.child_by_field_name("function");
    if let [only] = arguments.as_slice()
        && only.kind() != "keyword_argument"
    {
        out.put(Kind::Call, 0.25, call.byte_range(), place.said(*only));
    }
    let Some(function) = function else { return };
    let receiver = function
        .child_by_field_name("object")
        .or_else(|| function.child_by_field_name("value"));
    if let Some(receiver) = receiver {
        let weight = if arguments.is_empty() { 0.3 } else { 0.12 };
        out.put(Kind::Call, weight, call.byte_range(), place.said(receiver));
    }
    // `a.cmp(b)` and `b.cmp(a)`.
    if let ([only], Some(receiver)) = (arguments.as_slice(), receiver) {
        let name = lang::cut(place.text, receiver.end_byte()..function.end_byte());
        let sorts = [".cmp", ".partial_cmp", ".total_cmp", ".localeCompare"].contains(&name);
        let sides = [
            ".sub",
            ".difference",
            ".min",
            ".saturating_sub",
            ".checked_sub",
            ".issubset",
            ".startswith",
        ];
        let weight = match (sorts, sides.contains(&name)) {
            (true, _) => 0.8,
            (_, true) => 0.2,
            _ => 0.05,
        };
        let (a, b) = (place.said(receiver), place.said(*only));
        let (reference, b) = match b.strip_prefix('&') {
            Some(b) if place.lang == Lang::Rust => ("&", b),
            _ => ("", b),
        };
        out.put(
            Kind::Argument,
            weight,
            call.byte_range(),
            format!("{b}{name}({reference}{a})"),
        );
    }
    let method = function
        .child_by_field_name("field")
        .or_else(|| function.child_by_field_name("property"))
        .map_or("", |method| place.said(method));
    if place.lang == Lang::Rust
        && let Some(receiver) = receiver
    {
        let receiver = place.said(receiver);
        if matches!(method, "unwrap" | "expect") {
            let boost = if place.failure.says("`None`") || place.failure.says("unwrap()") {
                2.0
            } else {
                1.0
            };
            for (new, weight) in [
                (format!("{receiver}.unwrap_or_default()"), 0.5),
                (format!("{receiver}.unwrap_or(0)"), 0.3),
                (format!("{receiver}?"), 0.5),
            ] {
                out.put(Kind::Guard, weight * boost, call.byte_range(), new);
            }
        }
    }
}

/// Keyword arguments of well-known functions, and those other calls of the same function have.
fn keywords(place: &Place<'_>, call: Node<'_>, out: &mut Out<'_>) {
    let function = call
        .child_by_field_name("function")
        .map_or("", |function| place.said(function));
    let name = function.rsplit(['.', ':']).next().unwrap_or_default();
    let Some(list) = call.child_by_field_name("arguments") else {
        return;
    };
    let end = list.end_byte().saturating_sub(1);
    let said = place.said(list);
    let comma = if arguments(call).is_empty() { "" } else { ", " };
    let usual: &[&str] = match (place.lang, name) {
        (Lang::Python, "sorted" | "sort") => &["reverse=True", "key=str", "key=len"],
        (Lang::Python, "max" | "min") => &["default=None", "default=0"],
        (Lang::Python, "sum") => &["0"],
        (Lang::Python, "get" | "pop") => &["None", "0", "[]", "{}", "\"\"", "False"],
        (Lang::Python, "split") => &["\",\"", "1", "\"=\"", "\":\"", "\" \""],
        (Lang::Python, "round") => &["2", "1"],
        (Lang::Python, "int") => &["16", "2"],
        (Lang::Python, "dumps") => &["sort_keys=True", "ensure_ascii=False"],
        (Lang::Python, "open") => &["encoding=\"utf-8\"", "newline=\"\""],
        (Lang::Python, "next") => &["None"],
        (Lang::Python, "getattr") => &["None"],
        (Lang::Python, "zip") => &["strict=True"],
        (Lang::Python, "enumerate") => &["1", "start=1"],
        (Lang::JavaScript, "sort") => &["(a, b) => a - b", "(a, b) => b - a"],
        (Lang::JavaScript, "reduce") => &["0", "[]", "{}", "''"],
        (Lang::JavaScript, "parseInt") => &["10"],
        (Lang::JavaScript, "toFixed") => &["2"],
        (Lang::JavaScript, "slice") => &["0", "1", "-1"],
        (Lang::JavaScript, "flat") => &["Infinity"],
        (Lang::JavaScript, "join") => &["''", "','", "' '"],
        (Lang::JavaScript, "split") => &["','", "''", "' '"],
        _ => &[],
    };
    let bare_sort = place.lang == Lang::JavaScript && name == "sort" && comma.is_empty();
    for one in usual {
        if !said.contains(one) && (comma.is_empty() || name != "sort" || place.lang == Lang::Python)
        {
            out.put(
                Kind::Argument,
                if bare_sort { 0.9 } else { 0.25 },
                end..end,
                format!("{comma}{one}"),
            );
        }
    }
    // The sign of a comparison function, and its sides.
    if place.lang == Lang::Python && name == "get" && said.contains(',') {
        return;
    }
    if place.lang == Lang::Python && said.contains("reverse=True") {
        let all = said.find(", reverse=True").map(|at| list.start_byte() + at);
        if let Some(at) = all {
            out.put(Kind::Argument, 0.5, at..at + ", reverse=True".len(), "");
        }
    }
}

fn slice(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let said = place.said(node);
    let Some((from, to)) = said.split_once(':') else {
        return;
    };
    if to.contains(':') {
        return;
    }
    let (from, to) = (from.trim(), to.trim());
    let mut new: Vec<(String, f64)> = vec![
        (format!("{from}:"), 0.25),
        (format!(":{to}"), 0.25),
        (format!("{to}:"), 0.2),
        (format!(":{from}"), 0.2),
    ];
    for bound in [from, to] {
        if bound.is_empty() {
            continue;
        }
        for sign in ["+", "-"] {
            let moved = format!("{bound} {sign} 1");
            let both = if bound == from {
                format!("{moved}:{to}")
            } else {
                format!("{from}:{moved}")
            };
            new.push((both, 0.35));
        }
        let negative = bound
            .strip_prefix('-')
            .map_or_else(|| format!("-{bound}"), str::to_owned);
        let both = if bound == from {
            format!("{negative}:{to}")
        } else {
            format!("{from}:{negative}")
        };
        new.push((both, 0.35));
    }
    if from.is_empty() {
        new.push((format!("1:{to}"), 0.2));
    }
    if to.is_empty() {
        new.push((format!("{from}:-1"), 0.2));
    }
    for (new, weight) in new {
        if new != said && new != ":" {
            out.put(Kind::Arithmetic, weight, node.byte_range(), new);
        }
    }
}

/// Whether a node is a value that a call can be put around.
fn is_value(place: &Place<'_>, node: Node<'_>) -> bool {
    let Some(up) = node.parent() else {
        return false;
    };
    let kind = node.kind();
    let value = matches!(
        kind,
        "identifier"
            | "attribute"
            | "subscript"
            | "call"
            | "member_expression"
            | "subscript_expression"
            | "call_expression"
            | "binary_operator"
            | "binary_expression"
            | "field_expression"
            | "index_expression"
    );
    let place_of_value = match up.kind() {
        "argument_list"
        | "arguments"
        | "return_statement"
        | "comparison_operator"
        | "binary_operator"
        | "binary_expression"
        | "return_expression"
        | "pair" => true,
        "assignment" | "assignment_expression" | "augmented_assignment" => {
            up.child_by_field_name("right") == Some(node)
        }
        "variable_declarator" | "let_declaration" => up.child_by_field_name("value") == Some(node),
        "for_statement" | "for_in_statement" | "for_in_clause" => {
            up.child_by_field_name("right") == Some(node)
        }
        "subscript" => up.child_by_field_name("subscript") == Some(node),
        "subscript_expression" => up.child_by_field_name("index") == Some(node),
        _ => false,
    };
    value && place_of_value && !matches!(place.said(node), "self" | "this" | "cls")
}

/// A call more, of what the file calls elsewhere or what is usual.
fn more(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let said = place.said(node);
    let whole = matches!(node.kind(), "binary_operator" | "binary_expression");
    let held = if whole {
        format!("({said})")
    } else {
        said.to_owned()
    };
    let mut around: Vec<(String, f64)> = Vec::new();
    for name in place.own.unary.keys().take(16) {
        around.push((format!("{name}({said})"), 0.08));
    }
    let members: &[&str] = match place.lang {
        Lang::Python => &["strip", "lower", "copy", "upper", "items", "values", "keys"],
        Lang::JavaScript => &["trim", "toLowerCase", "slice", "toUpperCase"],
        Lang::Rust => &["clone", "trim", "abs", "to_lowercase"],
    };
    let used = place
        .own
        .methods
        .iter()
        .filter(|(_, least)| **least == 0)
        .map(|(name, _)| name.as_str())
        .take(12);
    let members = members.iter().copied().chain(used);
    for name in members {
        if !whole && !said.ends_with(&format!(".{name}()")) {
            around.push((format!("{held}.{name}()"), 0.08));
        }
    }
    let functions: &[&str] = match place.lang {
        Lang::Python => &[
            "str", "int", "abs", "list", "len", "float", "sorted", "set", "dict", "tuple", "bool",
        ],
        Lang::JavaScript => &[
            "Number",
            "String",
            "Math.abs",
            "Math.floor",
            "Math.round",
            "Math.ceil",
            "parseInt",
        ],
        Lang::Rust => &[],
    };
    for name in functions {
        around.push((format!("{name}({said})"), 0.07));
    }
    if place.lang == Lang::JavaScript {
        around.push((format!("[...{said}]"), 0.1));
        around.push((format!("{{ ...{said} }}"), 0.08));
        if lang::above(node)
            .any(|up| up.kind().contains("function") && place.said(up).starts_with("async"))
            && place.lang.is_call(node.kind())
        {
            around.push((format!("await {said}"), 0.5));
        }
    }
    if place.lang == Lang::Python
        && place.lang.is_call(node.kind())
        && lang::above(node)
            .any(|up| up.kind() == "function_definition" && place.said(up).starts_with("async"))
    {
        around.push((format!("await {said}"), 0.5));
    }
    around.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    around.dedup();
    for (new, weight) in around {
        out.put(Kind::Call, weight, node.byte_range(), new);
    }
}
