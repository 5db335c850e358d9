//! The wrong member: another field or method of the same name's neighbourhood.

use tree_sitter::Node;

use super::words::mistaken;
use super::{Out, Place};
use crate::candidate::Kind;
use crate::facts::{alike, arguments, distance};
use crate::lang::Lang;

/// Other members for one place.
const MOST: usize = 12;

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let Some(up) = node.parent() else { return };
    let attribute = up.kind() == "attribute" && up.child_by_field_name("attribute") == Some(node);
    if !attribute && !place.lang.is_member(node.kind()) {
        return;
    }
    if !matches!(
        up.kind(),
        "attribute" | "member_expression" | "field_expression"
    ) {
        return;
    }
    let mine = place.said(node);
    let call = up.parent().filter(|call| {
        place.lang.is_call(call.kind()) && call.child_by_field_name("function") == Some(up)
    });
    let unknown = place.failure.unknown.iter().any(|name| name == mine);
    let boost = if unknown { 6.0 } else { 1.0 };
    for (other, share) in mistaken(mine) {
        if call.is_some() || place.all.fields.contains_key(other) {
            let weight = share * if call.is_some() { 0.8 } else { 0.6 };
            out.put(Kind::Name, weight, node.byte_range(), other);
        }
    }
    let given = call.map(|call| arguments(call).len());
    let mut others: Vec<(String, f64)> = Vec::new();
    match given {
        Some(given) => {
            for (name, least) in &place.all.methods {
                let fits = if *least == given { 0.2 } else { 0.05 };
                others.push((name.clone(), fits * (0.3 + alike(mine, name))));
            }
            for (name, parameters) in &place.all.functions {
                let fits = if parameters.len() == given { 0.2 } else { 0.04 };
                others.push((name.clone(), fits * (0.3 + alike(mine, name))));
            }
        }
        None => {
            for name in place.all.fields.keys() {
                others.push((name.clone(), 0.3 * (0.3 + alike(mine, name))));
            }
        }
    }
    for (name, weight) in &mut others {
        if distance(name, mine) <= 2 && name.len() > 3 {
            *weight = weight.max(0.5);
        }
    }
    others.retain(|(name, _)| name != mine);
    others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    others.dedup_by(|a, b| a.0 == b.0);
    for (name, weight) in others.into_iter().take(MOST) {
        out.put(Kind::Name, weight * boost, node.byte_range(), name);
    }
    if place.lang == Lang::JavaScript && call.is_none() && mine == "length" {
        out.put(Kind::Name, 0.3, node.byte_range(), "size");
    }
    if place.lang == Lang::JavaScript && call.is_none() && mine == "size" {
        out.put(Kind::Name, 0.3, node.byte_range(), "length");
    }
}
