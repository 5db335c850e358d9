//! The wrong name: another variable that the place can see, another function, a member of the
//! object instead of a variable of the same name.

use tree_sitter::Node;

use super::words::mistaken;
use super::{Out, Place};
use crate::candidate::Kind;
use crate::facts::{alike, arguments, distance};
use crate::lang::{self, Lang};

/// Other names for one place, the most alike first.
const MOST: usize = 14;

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    if node.kind() != "identifier" || !is_use(place, node) {
        return;
    }
    let mine = place.said(node);
    let up = node.parent();
    let called = up.is_some_and(|up| {
        place.lang.is_call(up.kind()) && up.child_by_field_name("function") == Some(node)
    });
    for (other, share) in mistaken(mine) {
        // A variable that is called `start` is not a member of the library.
        let known = called || place.own.names.contains_key(other);
        if known {
            out.put(
                Kind::Name,
                share * if called { 0.75 } else { 0.5 },
                node.byte_range(),
                other,
            );
        }
    }
    let scope = place.scope(node);
    let unknown = place.failure.unknown.iter().any(|name| name == mine);
    let boost = if unknown { 6.0 } else { 1.0 };
    let mut others: Vec<(String, f64)> = Vec::new();
    if called {
        let given = up.map_or(0, |call| arguments(call).len());
        for (name, parameters) in &place.all.functions {
            if name != mine {
                let fits = parameters.len() == given;
                let weight = if fits { 0.25 } else { 0.06 };
                others.push((name.clone(), weight * (0.3 + alike(mine, name))));
            }
        }
    } else {
        let unread = crate::facts::unread(place.lang, place.text, node);
        for name in &scope.locals {
            let hint = if unread.contains(name) { 2.5 } else { 1.0 };
            others.push((name.clone(), 0.3 * hint * (0.4 + alike(mine, name))));
        }
        for name in &scope.own {
            let member = name.rsplit('.').next().unwrap_or_default();
            let weight = if member == mine {
                0.6
            } else {
                0.1 * (0.3 + alike(mine, member))
            };
            others.push((name.clone(), weight));
        }
        let mine_is_global = scope.globals.contains(mine) && !scope.locals.contains(mine);
        for name in &scope.globals {
            let constant = name
                .chars()
                .all(|c| c.is_uppercase() || c == '_' || c.is_ascii_digit());
            let share = if mine_is_global && constant {
                0.35
            } else {
                0.08
            };
            others.push((name.clone(), share * (0.3 + alike(mine, name))));
        }
    }
    if unknown {
        let seen = place.own.names.keys().chain(scope.globals.iter());
        for name in seen.filter(|name| distance(name, mine) <= 2) {
            others.push((name.clone(), 0.5));
        }
    }
    others.retain(|(name, _)| name != mine && name != "_");
    others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    others.dedup_by(|a, b| a.0 == b.0);
    for (name, weight) in others.into_iter().take(MOST) {
        out.put(Kind::Name, weight * boost, node.byte_range(), name);
    }
}

/// Whether the name's value is used here: not where it is declared, imported, or a label.
fn is_use(place: &Place<'_>, node: Node<'_>) -> bool {
    let Some(up) = node.parent() else {
        return false;
    };
    let field = |name: &str| up.child_by_field_name(name) == Some(node);
    match up.kind() {
        "parameters"
        | "lambda_parameters"
        | "formal_parameters"
        | "typed_parameter"
        | "closure_parameters"
        | "parameter"
        | "tuple_pattern"
        | "object_pattern"
        | "array_pattern"
        | "rest_pattern"
        | "global_statement"
        | "nonlocal_statement"
        | "label"
        | "scoped_identifier"
        | "scoped_type_identifier"
        | "macro_invocation"
        | "token_tree"
        | "field_initializer"
        | "captured_pattern"
        | "aliased_import"
        | "dotted_name"
        | "mut_pattern"
        | "match_pattern"
        | "tuple_struct_pattern" => false,
        "default_parameter" | "typed_default_parameter" | "keyword_argument" => !field("name"),
        "function_definition"
        | "class_definition"
        | "function_declaration"
        | "function_item"
        | "class_declaration"
        | "const_item"
        | "static_item"
        | "struct_item"
        | "enum_item"
        | "enum_variant"
        | "mod_item"
        | "function_expression" => false,
        "variable_declarator" => !field("name"),
        "let_declaration" => !field("pattern"),
        "for_expression" => !field("pattern"),
        "for_statement" | "for_in_clause" | "for_in_statement" => !field("left"),
        "arrow_function" => !field("parameter"),
        "as_pattern_target" | "catch_clause" => false,
        "attribute" => place.lang == Lang::Python && field("object") && place.said(node) != "self",
        "member_expression" => field("object"),
        "assignment" | "assignment_expression" => {
            // The target of an assignment is where a name is made, if nothing made it before.
            !field("left") || used_before(place, node)
        }
        _ => true,
    }
}

fn used_before(place: &Place<'_>, node: Node<'_>) -> bool {
    let Some(function) = super::function_of(place.lang, node) else {
        return false;
    };
    let name = place.said(node);
    lang::below(function).into_iter().any(|other| {
        other.kind() == "identifier"
            && other.start_byte() < node.start_byte()
            && place.said(other) == name
    })
}
