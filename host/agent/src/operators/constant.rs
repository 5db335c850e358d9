//! Numbers, texts and truth values: near ones, and those that the files use elsewhere.

use tree_sitter::Node;

use super::{Out, Place};
use crate::candidate::Kind;
use crate::facts::{alike, distance};
use crate::lang::{self, Lang};

/// Of the other numbers or texts of a file at most this many are tried for each.
const MOST: usize = 24;

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let kind = node.kind();
    if place.lang.is_number(kind) {
        number(place, node, out);
    } else if place.lang.is_text(kind) {
        text(place, node, out);
    }
    match (place.lang, kind) {
        (Lang::Python, "true") => out.put(Kind::Constant, 0.8, node.byte_range(), "False"),
        (Lang::Python, "false") => out.put(Kind::Constant, 0.8, node.byte_range(), "True"),
        (_, "true") => out.put(Kind::Constant, 0.8, node.byte_range(), "false"),
        (_, "false") => out.put(Kind::Constant, 0.8, node.byte_range(), "true"),
        (Lang::Rust, "boolean_literal") => {
            let other = if place.said(node) == "true" {
                "false"
            } else {
                "true"
            };
            out.put(Kind::Constant, 0.8, node.byte_range(), other);
        }
        (Lang::Python, "none") => {
            for value in ["0", "[]", "{}", "\"\"", "False", "True"] {
                out.put(Kind::Constant, 0.1, node.byte_range(), value);
            }
        }
        (Lang::JavaScript, "null" | "undefined") => {
            let other = if kind == "null" { "undefined" } else { "null" };
            for (value, weight) in [
                (other, 0.3),
                ("0", 0.1),
                ("[]", 0.1),
                ("{}", 0.1),
                ("false", 0.1),
                ("''", 0.1),
            ] {
                out.put(Kind::Constant, weight, node.byte_range(), value);
            }
        }
        (Lang::Python, "list" | "dictionary") if node.named_child_count() == 0 => {
            let other = if kind == "list" { "{}" } else { "[]" };
            out.put(Kind::Constant, 0.15, node.byte_range(), other);
            out.put(Kind::Constant, 0.1, node.byte_range(), "None");
        }
        _ => {}
    }
}

fn number(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let said = place.said(node);
    let digits: String = said
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '_' || *c == '.')
        .collect();
    let suffix = said.get(digits.len()..).unwrap_or_default();
    if suffix.starts_with(['x', 'b', 'o', 'e']) {
        return;
    }
    let float = digits.contains('.');
    let Ok(value) = digits.replace('_', "").parse::<f64>() else {
        return;
    };
    let shown = |value: f64| {
        if float {
            format!("{value:?}{suffix}")
        } else {
            format!("{value:.0}{suffix}")
        }
    };
    let mut tried: Vec<(String, f64)> = Vec::new();
    // Off by one is a matter of small numbers; 101 is nobody's slip for 100.
    let one = match value {
        value if value <= 3.0 => 0.8,
        value if value < 10.0 => 0.35,
        _ => 0.07,
    };
    let mut near = vec![
        (value + 1.0, one),
        (value - 1.0, one),
        (0.0, 0.3),
        (1.0, 0.3),
    ];
    if value == 0.0 {
        near.push((-1.0, 0.3));
    } else {
        near.extend([
            (value * 10.0, 0.2),
            (value / 10.0, 0.2),
            (value * 2.0, 0.2),
            (value / 2.0, 0.2),
            (value * 100.0, 0.1),
            (value / 100.0, 0.1),
            (value * 1000.0, 0.15),
            (value / 1000.0, 0.15),
        ]);
    }
    for (other, weight) in near {
        let whole = float || other.fract() == 0.0;
        let fits = other >= 0.0 || place.lang != Lang::Rust;
        if whole && fits && (other - value).abs() > f64::EPSILON {
            tried.push((shown(other), weight));
        }
    }
    for (numbers, weight) in [(&place.own.numbers, 0.12), (&place.tests.numbers, 0.04)] {
        for other in numbers.keys().take(MOST) {
            tried.push((other.clone(), weight));
        }
    }
    for usual in ["60", "100", "1000", "1024", "24", "3600", "10", "2"] {
        if !float {
            tried.push((format!("{usual}{suffix}"), 0.05));
        }
    }
    let mut done: Vec<String> = vec![said.to_owned()];
    for (new, weight) in tried {
        if !done.contains(&new) {
            out.put(Kind::Constant, weight, node.byte_range(), new.clone());
            done.push(new);
        }
    }
    let index = node.parent().is_some_and(|up| {
        matches!(
            up.kind(),
            "subscript" | "subscript_expression" | "index_expression"
        )
    });
    let negated = node
        .parent()
        .is_some_and(|up| matches!(up.kind(), "unary_operator" | "unary_expression"));
    if place.lang != Lang::Rust && !negated && value != 0.0 {
        let weight = if index { 0.4 } else { 0.12 };
        out.put(
            Kind::Constant,
            weight,
            node.byte_range(),
            format!("-{said}"),
        );
    }
}

/// The text between the quotes, and the quotes.
fn inner(said: &str) -> Option<(&str, &str, &str)> {
    let start = said.find(['"', '\''])?;
    let quote = said.get(start..start + 1)?;
    let end = said.rfind(quote)?;
    if end <= start || said.get(start..start + 3) == Some("\"\"\"") {
        return None;
    }
    Some((
        said.get(..=start)?,
        said.get(start + 1..end)?,
        said.get(end..)?,
    ))
}

fn text(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let said = place.said(node);
    let Some((open, mine, close)) = inner(said) else {
        return;
    };
    // A formatted text holds expressions of its own, which are nodes of their own.
    if node.child_count() > 3 && said.starts_with('f') {
        return;
    }
    let up = node.parent();
    let message = up.is_some_and(|up| {
        let words = mine.split(' ').count() > 3;
        words && matches!(up.kind(), "argument_list" | "arguments" | "token_tree")
    });
    let scale = if message { 0.05 } else { 1.0 };
    let key = up.is_some_and(|up| {
        matches!(
            up.kind(),
            "subscript"
                | "subscript_expression"
                | "pair"
                | "comparison_operator"
                | "keyword_argument"
        )
    });
    let mut others: Vec<(String, f64)> = Vec::new();
    let lists = [
        (&place.own.texts, 0.2),
        (&place.all.texts, 0.1),
        (&place.tests.texts, 0.06),
    ];
    for (texts, share) in lists {
        for other in texts.keys() {
            let Some((_, theirs, _)) = inner(other) else {
                continue;
            };
            if theirs == mine || theirs.contains(['\n', '"', '\'']) {
                continue;
            }
            let likeness = if theirs.is_empty() || mine.is_empty() {
                0.0
            } else {
                alike(mine, theirs)
            };
            let close_by = theirs.len() > 2 && distance(mine, theirs) <= 2
                || mine.eq_ignore_ascii_case(theirs);
            let weight = if close_by {
                0.7
            } else {
                share * (0.3 + likeness)
            };
            others.push((theirs.to_owned(), if key { weight * 1.3 } else { weight }));
        }
    }
    others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut done: Vec<&str> = Vec::new();
    for (other, weight) in &others {
        if done.len() < MOST && !done.contains(&other.as_str()) {
            done.push(other);
            out.put(
                Kind::Constant,
                weight * scale,
                node.byte_range(),
                format!("{open}{other}{close}"),
            );
        }
    }
    for (new, weight) in shapes(mine) {
        out.put(
            Kind::Constant,
            weight * scale,
            node.byte_range(),
            format!("{open}{new}{close}"),
        );
    }
}

/// Separators, empty texts, cases, and the parts of patterns and formats.
fn shapes(mine: &str) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    if mine.chars().count() <= 2 && !mine.chars().any(char::is_alphanumeric) {
        for other in [
            "", " ", ",", ", ", ":", ";", "-", "_", "/", ".", "|", "=", "&", "\\n", "\\t",
        ] {
            if other != mine {
                found.push((other.to_owned(), 0.15));
            }
        }
    }
    let lower = mine.to_lowercase();
    let upper = mine.to_uppercase();
    for other in [lower, upper] {
        if other != mine && mine.len() <= 12 {
            found.push((other, 0.2));
        }
    }
    let pattern = mine.contains(['\\', '[', '^', '$', '*', '+', '(']) && mine.len() > 2;
    if pattern {
        for (old, new) in [("*", "+"), ("+", "*"), ("?", ""), ("^", ""), ("$", "")] {
            for (at, _) in mine.match_indices(old) {
                let head = lang::cut(mine, 0..at);
                let tail = lang::cut(mine, at + old.len()..mine.len());
                found.push((format!("{head}{new}{tail}"), 0.25));
            }
        }
        if !mine.starts_with('^') {
            found.push((format!("^{mine}"), 0.25));
        }
        if !mine.ends_with('$') {
            found.push((format!("{mine}$"), 0.3));
        }
        for (old, new) in [
            ("\\d", "\\w"),
            ("\\w", "\\d"),
            ("\\s", "\\S"),
            ("\\S", "\\s"),
            ("a-z", "a-zA-Z"),
            ("A-Z", "A-Za-z"),
        ] {
            if mine.contains(old) {
                found.push((mine.replacen(old, new, 1), 0.2));
            }
        }
    }
    for (old, new) in [
        ("%m", "%M"),
        ("%M", "%m"),
        ("%d", "%m"),
        ("%H", "%I"),
        ("%I", "%H"),
        ("%Y", "%y"),
        ("%y", "%Y"),
        (".1f", ".2f"),
        (".2f", ".1f"),
        (".2f", ".3f"),
        (".3f", ".2f"),
        (".0f", ".2f"),
        ("utf-16", "utf-8"),
        ("ascii", "utf-8"),
        ("latin-1", "utf-8"),
    ] {
        if mine.contains(old) {
            found.push((mine.replacen(old, new, 1), 0.4));
        }
    }
    for (one, other) in [
        ("w", "a"),
        ("a", "w"),
        ("r", "rb"),
        ("rb", "r"),
        ("wb", "ab"),
    ] {
        if mine == one {
            found.push((other.to_owned(), 0.3));
        }
    }
    found
}
