//! Whole statements: one gone, one moved, one copied from elsewhere in the file, a jump or a
//! return more, less or another.

use tree_sitter::Node;

use super::{Out, Place, function_of, is_statement};
use crate::candidate::Kind;
use crate::lang::{self, Lang, indent_at, line_starts};

/// A statement longer than this is neither copied nor moved.
const LONGEST: usize = 240;
/// Copies for one place.
const MOST: usize = 16;

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    if is_statement(place.lang, node) && function_of(place.lang, node).is_some() {
        delete(place, node, out);
        swap(place, node, out);
        jump(place, node, out);
        returns(place, node, out);
        copies(place, node, out);
        indentation(place, node, out);
    }
    if is_statement(place.lang, node) && function_of(place.lang, node).is_some() {
        exchange(place, node, out);
    }
    if place.lang.is_function(node.kind()) {
        result(place, node, out);
    }
}

/// Where the lines of a statement begin and end, if it has them for itself.
fn own_lines(place: &Place<'_>, node: Node<'_>) -> Option<std::ops::Range<usize>> {
    let starts = line_starts(place.text);
    let start = *starts.iter().rfind(|at| **at <= node.start_byte())?;
    let mut end = starts
        .iter()
        .find(|at| **at >= node.end_byte() && **at > start)
        .copied()
        .unwrap_or(place.text.len());
    // A block of Python ends behind its line's end in some trees.
    if end == node.end_byte() && !place.text.get(start..end)?.ends_with('\n') {
        end = place.text.len();
    }
    let before = place.text.get(start..node.start_byte())?;
    let after = place.text.get(node.end_byte()..end).unwrap_or_default();
    let free = before.trim().is_empty() && matches!(after.trim(), "" | ";" | ",");
    free.then_some(start..end)
}

/// What an empty block holds.
fn nothing(lang: Lang) -> &'static str {
    match lang {
        Lang::Python => "pass",
        _ => "",
    }
}

fn siblings(node: Node<'_>) -> usize {
    node.parent().map_or(0, |block| {
        lang::named(block)
            .iter()
            .filter(|one| !one.kind().contains("comment"))
            .count()
    })
}

fn delete(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let kind = node.kind();
    if matches!(
        kind,
        "function_definition"
            | "class_definition"
            | "function_declaration"
            | "let_declaration"
            | "lexical_declaration"
            | "variable_declaration"
    ) {
        return;
    }
    let range = own_lines(place, node);
    match range {
        Some(range) if siblings(node) > 1 => out.put(Kind::Delete, 0.1, range, ""),
        _ => out.put(Kind::Delete, 0.08, node.byte_range(), nothing(place.lang)),
    }
    // The body without its condition.
    let body = match kind {
        "if_statement" | "if_expression" => node.child_by_field_name("consequence"),
        "expression_statement" => node
            .named_child(0)
            .filter(|inner| inner.kind() == "if_expression")
            .and_then(|inner| inner.child_by_field_name("consequence")),
        _ => None,
    };
    if let Some(body) = body
        && let [only] = lang::named(body).as_slice()
        && node.child_by_field_name("alternative").is_none()
    {
        out.put(Kind::Condition, 0.12, node.byte_range(), place.said(*only));
    }
}

fn swap(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let Some(next) = node.next_named_sibling() else {
        return;
    };
    if next.kind().contains("comment") || !is_statement(place.lang, next) {
        return;
    }
    let (a, b) = (place.said(node), place.said(next));
    if a == b || a.len() > LONGEST * 3 || b.len() > LONGEST * 3 {
        return;
    }
    let both = vec![
        (node.byte_range(), b.to_owned()),
        (next.byte_range(), a.to_owned()),
    ];
    out.both(Kind::Move, 0.35, both);
}

/// The arguments of two calls one after the other, each in the other's place.
fn exchange(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let Some(next) = node.next_named_sibling() else {
        return;
    };
    let argument = |statement: Node<'_>| {
        let call = lang::below(statement)
            .into_iter()
            .take(6)
            .find(|inner| place.lang.is_call(inner.kind()))?;
        let list = call.child_by_field_name("arguments")?;
        Some(list.byte_range())
    };
    if let (Some(a), Some(b)) = (argument(node), argument(next)) {
        let (one, other) = (
            lang::cut(place.text, a.clone()),
            lang::cut(place.text, b.clone()),
        );
        if one != other {
            let edits = vec![(a, other.to_owned()), (b, one.to_owned())];
            out.both(Kind::Argument, 0.25, edits);
        }
    }
}

fn jump(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let inner = match node.kind() {
        "expression_statement" => node.named_child(0).unwrap_or(node),
        _ => node,
    };
    let semicolon = if place.lang == Lang::Python { "" } else { ";" };
    let in_loop = lang::above(node)
        .take_while(|up| !place.lang.is_function(up.kind()))
        .any(|up| place.lang.is_loop(up.kind()));
    match inner.kind() {
        "break_statement" | "break_expression" => {
            out.put(
                Kind::Jump,
                0.6,
                node.byte_range(),
                format!("continue{semicolon}"),
            );
        }
        "continue_statement" | "continue_expression" => {
            out.put(
                Kind::Jump,
                0.6,
                node.byte_range(),
                format!("break{semicolon}"),
            );
        }
        "return_statement" | "return_expression" if in_loop => {
            out.put(
                Kind::Jump,
                0.25,
                node.byte_range(),
                format!("continue{semicolon}"),
            );
            out.put(
                Kind::Jump,
                0.15,
                node.byte_range(),
                format!("break{semicolon}"),
            );
        }
        _ => {}
    }
    // One at the end of a branch inside a loop.
    let ends_branch = node.next_named_sibling().is_none()
        && node
            .parent()
            .and_then(|block| block.parent())
            .is_some_and(|up| up.kind().starts_with("if") || up.kind().starts_with("el"));
    if in_loop && ends_branch && !inner.kind().starts_with("return") {
        let indent = indent_at(place.text, node.start_byte());
        for word in ["break", "continue"] {
            let text = format!("\n{indent}{word}{semicolon}");
            out.put(Kind::Jump, 0.2, node.end_byte()..node.end_byte(), text);
        }
    }
}

fn returns(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let last = node.next_named_sibling().is_none();
    let bare = node.kind() == "expression_statement";
    if bare
        && last
        && let Some(inner) = node.named_child(0)
    {
        let assigns = inner.kind().contains("assignment") || inner.kind() == "update_expression";
        if place.lang == Lang::Rust {
            let said = place.said(node);
            if let Some(value) = said.strip_suffix(';')
                && !assigns
            {
                out.put(Kind::Return, 0.5, node.byte_range(), value);
            }
        } else if !assigns && !matches!(inner.kind(), "string" | "yield" | "await") {
            let call = place.lang.is_call(inner.kind());
            let weight = if call { 0.4 } else { 0.8 };
            out.put(
                Kind::Return,
                weight,
                node.start_byte()..node.start_byte(),
                "return ",
            );
        }
    }
    if node.kind() == "return_statement" {
        let semicolon = if place.lang == Lang::Python { "" } else { ";" };
        let value = node.named_child(0);
        let said = value.map_or("", |value| place.said(value));
        let mut seen: Vec<(String, f64)> = Vec::new();
        for other in place.own.returned.keys() {
            seen.push((other.clone(), 0.12));
        }
        if value.is_none_or(|value| value.child_count() > 0) {
            for local in assigned(place, node) {
                seen.push((local, 0.15));
            }
        }
        seen.retain(|(other, _)| other != said);
        seen.truncate(MOST);
        for (other, weight) in seen {
            out.put(
                Kind::Return,
                weight,
                node.byte_range(),
                format!("return {other}{semicolon}"),
            );
        }
        if place.lang == Lang::Python
            && !said.is_empty()
            && lang::above(node).any(|up| up.kind() == "for_statement")
        {
            out.put(
                Kind::Return,
                0.05,
                node.byte_range(),
                format!("yield {said}"),
            );
        }
    }
}

/// Names that the function around a node gives values to.
fn assigned(place: &Place<'_>, node: Node<'_>) -> Vec<String> {
    let Some(function) = function_of(place.lang, node) else {
        return Vec::new();
    };
    let parameters = crate::facts::parameters(place.lang, place.text, function);
    let scope = place.scope(node);
    scope
        .locals
        .into_iter()
        .filter(|name| !parameters.contains(name))
        .collect()
}

/// A return at the end of a function that has none.
fn result(place: &Place<'_>, function: Node<'_>, out: &mut Out<'_>) {
    let Some(body) = function.child_by_field_name("body") else {
        return;
    };
    if !place.lang.is_block(body.kind()) {
        return;
    }
    let Some(last) = lang::named(body)
        .into_iter()
        .rfind(|node| !node.kind().contains("comment"))
    else {
        return;
    };
    let tail = matches!(
        last.kind(),
        "return_statement" | "raise_statement" | "throw_statement"
    );
    if tail || place.lang == Lang::Rust && last.kind() != "expression_statement" {
        return;
    }
    let indent = indent_at(place.text, last.start_byte());
    let (head, semicolon) = match place.lang {
        Lang::Python => ("return ", ""),
        Lang::JavaScript => ("return ", ";"),
        Lang::Rust => ("", ""),
    };
    let mut names = assigned(place, last);
    names.sort_by_key(|name| {
        // What is filled or counted up is what is returned.
        let filled = ["append(", "add(", "push(", "update(", "insert("];
        let said = place.said(function);
        let grows = filled
            .iter()
            .any(|word| said.contains(&format!("{name}.{word}")))
            || said.contains(&format!("{name} +="));
        !grows
    });
    let own = place.scope(last).own;
    let weights = [0.6, 0.4, 0.3, 0.2, 0.2];
    for (name, weight) in names.iter().chain(own.iter()).zip(weights) {
        let text = format!("\n{indent}{head}{name}{semicolon}");
        out.put(Kind::Return, weight, last.end_byte()..last.end_byte(), text);
    }
    for name in ["True", "true", "self", "this"] {
        let fits = match name {
            "True" | "self" => place.lang == Lang::Python,
            _ => place.lang == Lang::JavaScript,
        };
        if fits {
            let text = format!("\n{indent}{head}{name}{semicolon}");
            out.put(Kind::Return, 0.12, last.end_byte()..last.end_byte(), text);
        }
    }
}

/// A statement of the file once more, before or after this one.
fn copies(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let Some(tree) = place.lang.parse(place.text) else {
        return;
    };
    let scope = place.scope(node);
    let indent = indent_at(place.text, node.start_byte());
    let mut found: Vec<(f64, String)> = Vec::new();
    let function = function_of(place.lang, node).map(|f| f.byte_range());
    for other in lang::all_nodes(&tree) {
        let short = other.byte_range().len() <= LONGEST;
        if !short || !is_statement(place.lang, other) || other.byte_range() == node.byte_range() {
            continue;
        }
        let Some(theirs) = function_of(place.lang, other) else {
            continue;
        };
        let said = place.said(other);
        let compound = said.contains('\n');
        let effect = matches!(
            other.kind(),
            "expression_statement" | "delete_statement" | "raise_statement" | "throw_statement"
        ) || other.kind() == "if_statement" && said.lines().count() <= 3;
        if !effect
            || place
                .lang
                .is_text(other.named_child(0).map_or("", |n| n.kind()))
        {
            continue;
        }
        // Every name in it must mean something here.
        let known = lang::below(other).into_iter().all(|inner| {
            let name = place.said(inner);
            inner.kind() != "identifier"
                || scope.locals.contains(name)
                || scope.globals.contains(name)
                || place.all.functions.contains_key(name)
                || place.all.unary.contains_key(name)
                || matches!(
                    name,
                    "self" | "this" | "super" | "console" | "Math" | "Object"
                )
                || inner
                    .parent()
                    .is_some_and(|up| up.child_by_field_name("attribute") == Some(inner))
        });
        if !known {
            continue;
        }
        let near = function.as_ref() == Some(&theirs.byte_range());
        let weight = if near { 0.12 } else { 0.1 } * if compound { 0.6 } else { 1.0 };
        let from = indent_at(place.text, other.start_byte());
        let text = said.replace(&format!("\n{from}"), &format!("\n{indent}"));
        if !found.iter().any(|(_, known)| *known == text) {
            found.push((weight, text));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (weight, text) in found.into_iter().take(MOST) {
        let after = node.end_byte()..node.end_byte();
        let before = node.start_byte()..node.start_byte();
        let tail = matches!(
            node.kind(),
            "return_statement" | "raise_statement" | "throw_statement"
        );
        if !tail && place.lang != Lang::Rust {
            out.put(Kind::Insert, weight, after, format!("\n{indent}{text}"));
        }
        out.put(Kind::Insert, weight, before, format!("{text}\n{indent}"));
    }
    increments(place, node, indent, out);
}

/// A loop that nothing moves on.
fn increments(place: &Place<'_>, node: Node<'_>, indent: &str, out: &mut Out<'_>) {
    let last = node.next_named_sibling().is_none();
    let up = node.parent().and_then(|block| block.parent());
    let Some(up) = up.filter(|up| up.kind().starts_with("while") && last) else {
        return;
    };
    let Some(condition) = super::compare::condition(place.lang, up) else {
        return;
    };
    let semicolon = if place.lang == Lang::Python { "" } else { ";" };
    for name in lang::below(condition) {
        if name.kind() != "identifier" {
            continue;
        }
        let said = place.said(name);
        for change in ["+= 1", "-= 1", "//= 2"] {
            if change == "//= 2" && place.lang != Lang::Python {
                continue;
            }
            let text = format!("\n{indent}{said} {change}{semicolon}");
            out.put(Kind::Insert, 0.4, node.end_byte()..node.end_byte(), text);
        }
    }
}

/// The last statement of a block one level further out, the first after a block one further in.
fn indentation(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let Some(range) = own_lines(place, node) else {
        return;
    };
    let said = lang::cut(place.text, range.clone());
    let indent = indent_at(place.text, node.start_byte());
    let block = node.parent();
    let holder = block.and_then(|block| block.parent());
    let holds = holder.is_some_and(|up| {
        place.lang.is_loop(up.kind())
            || matches!(
                up.kind(),
                "if_statement"
                    | "else_clause"
                    | "elif_clause"
                    | "with_statement"
                    | "try_statement"
                    | "if_expression"
            )
    });
    if holds
        && node.next_named_sibling().is_none()
        && siblings(node) > 1
        && let Some(holder) = holder
    {
        let outer = indent_at(place.text, holder.start_byte());
        let moved: String = said
            .split_inclusive('\n')
            .map(|line| match line.strip_prefix(indent) {
                Some(rest) => format!("{outer}{rest}"),
                None => line.to_owned(),
            })
            .collect();
        let weight = if node.kind() == "return_statement" {
            0.7
        } else {
            0.45
        };
        if place.lang == Lang::Python {
            out.put(Kind::Move, weight, range.clone(), moved);
        } else if let Some(whole) = super::statement_of(place.lang, holder) {
            let newline = if moved.ends_with('\n') { "" } else { "\n" };
            out.both(
                Kind::Move,
                weight,
                vec![
                    (range.clone(), String::new()),
                    (
                        whole.end_byte()..whole.end_byte(),
                        format!("\n{}{newline}", moved.trim_end()),
                    ),
                ],
            );
        }
    }
    let before = node.prev_named_sibling().filter(|one| {
        place.lang.is_loop(one.kind())
            || matches!(
                one.kind(),
                "if_statement" | "with_statement" | "try_statement"
            )
    });
    if let Some(before) = before.filter(|_| place.lang == Lang::Python) {
        let inner = lang::below(before)
            .into_iter()
            .rfind(|inner| inner.kind() == "block")
            .and_then(|block| block.named_child(0))
            .map(|first| indent_at(place.text, first.start_byte()));
        if let Some(inner) = inner {
            let moved: String = said
                .split_inclusive('\n')
                .map(|line| match line.strip_prefix(indent) {
                    Some(rest) => format!("{inner}{rest}"),
                    None => line.to_owned(),
                })
                .collect();
            out.put(Kind::Move, 0.35, range, moved);
        }
    }
}
