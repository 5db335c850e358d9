//! State that is shared or kept and should not be: defaults that are one object for all calls,
//! values handed out by reference, an object whose own member is meant.

use tree_sitter::Node;

use super::{Out, Place};
use crate::candidate::Kind;
use crate::lang::{self, Lang, indent_at};

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    match (place.lang, node.kind()) {
        (Lang::Python, "function_definition") => defaults(place, node, out),
        (Lang::Python, "class_definition") => shared(place, node, out),
        _ => {}
    }
    let kept = match node.kind() {
        "return_statement" => node.named_child(0),
        "assignment" | "assignment_expression" => node.child_by_field_name("right"),
        _ => None,
    };
    let Some(value) = kept else { return };
    let said = place.said(value);
    let reference = matches!(
        value.kind(),
        "attribute" | "identifier" | "member_expression" | "subscript" | "subscript_expression"
    );
    if !reference || matches!(said, "self" | "this") {
        return;
    }
    let copies: &[&str] = match place.lang {
        Lang::Python => &["list({})", "dict({})"],
        Lang::JavaScript => &["[...{}]", "{ ...{} }"],
        Lang::Rust => &[],
    };
    for copy in copies {
        out.put(
            Kind::Call,
            0.15,
            value.byte_range(),
            copy.replacen("{}", said, 1),
        );
    }
}

/// `def f(a, seen=[])`: one list for all calls.
fn defaults(place: &Place<'_>, function: Node<'_>, out: &mut Out<'_>) {
    let (Some(parameters), Some(body)) = (
        function.child_by_field_name("parameters"),
        function.child_by_field_name("body"),
    ) else {
        return;
    };
    for parameter in lang::named(parameters) {
        let (Some(name), Some(value)) = (
            parameter.child_by_field_name("name"),
            parameter.child_by_field_name("value"),
        ) else {
            continue;
        };
        let mutable = matches!(value.kind(), "list" | "dictionary" | "set")
            || value.kind() == "call" && matches!(place.said(value), "list()" | "dict()" | "set()");
        if !mutable {
            continue;
        }
        let documented = lang::named(body).into_iter().find(|statement| {
            !(statement.kind() == "expression_statement"
                && statement
                    .named_child(0)
                    .is_some_and(|one| one.kind() == "string"))
        });
        let Some(first) = documented else { continue };
        let indent = indent_at(place.text, first.start_byte());
        let (name, fresh) = (place.said(name), place.said(value));
        let check = format!("if {name} is None:\n{indent}    {name} = {fresh}\n{indent}");
        out.both(
            Kind::Assignment,
            0.9,
            vec![
                (value.byte_range(), "None".to_owned()),
                (first.start_byte()..first.start_byte(), check),
            ],
        );
    }
}

/// `class A: items = []`: one list for all objects.
fn shared(place: &Place<'_>, class: Node<'_>, out: &mut Out<'_>) {
    let Some(body) = class.child_by_field_name("body") else {
        return;
    };
    let members = lang::named(body);
    let init = members.iter().find(|member| {
        member
            .child_by_field_name("name")
            .is_some_and(|name| place.said(name) == "__init__")
    });
    for member in &members {
        let Some(assignment) = member
            .named_child(0)
            .filter(|one| one.kind() == "assignment")
        else {
            continue;
        };
        let (Some(left), Some(right)) = (
            assignment.child_by_field_name("left"),
            assignment.child_by_field_name("right"),
        ) else {
            continue;
        };
        if !matches!(right.kind(), "list" | "dictionary" | "set") {
            continue;
        }
        let (left, right) = (place.said(left), place.said(right));
        let indent = indent_at(place.text, member.start_byte());
        match init.and_then(|init| init.child_by_field_name("body")) {
            Some(body) => {
                let Some(first) = body.named_child(0) else {
                    continue;
                };
                let inner = indent_at(place.text, first.start_byte());
                out.put(
                    Kind::Assignment,
                    0.7,
                    first.start_byte()..first.start_byte(),
                    format!("self.{left} = {right}\n{inner}"),
                );
            }
            None => out.put(
                Kind::Assignment,
                0.6,
                member.byte_range(),
                format!("def __init__(self):\n{indent}    self.{left} = {right}\n"),
            ),
        }
    }
}
