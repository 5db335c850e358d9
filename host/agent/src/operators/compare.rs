//! Comparisons, conditions and arithmetic: another operator, a boundary one further, a part of a
//! condition less, the opposite.

use tree_sitter::Node;

use super::{Out, Place};
use crate::candidate::Kind;
use crate::lang::{self, Lang};

/// Likely replacements of comparisons, with their shares.
fn comparisons(lang: Lang, operator: &str) -> &'static [(&'static str, f64)] {
    match operator {
        "<" => &[
            ("<=", 1.0),
            (">", 0.6),
            (">=", 0.35),
            ("!=", 0.15),
            ("==", 0.1),
        ],
        "<=" => &[("<", 1.0), (">=", 0.6), (">", 0.35), ("==", 0.15)],
        ">" => &[
            (">=", 1.0),
            ("<", 0.6),
            ("<=", 0.35),
            ("!=", 0.15),
            ("==", 0.1),
        ],
        ">=" => &[(">", 1.0), ("<=", 0.6), ("<", 0.35), ("==", 0.15)],
        "==" if lang == Lang::JavaScript => &[
            ("!=", 0.7),
            ("===", 0.4),
            ("<=", 0.25),
            (">=", 0.25),
            (">", 0.1),
            ("<", 0.1),
        ],
        "==" => &[
            ("!=", 0.8),
            ("<=", 0.3),
            (">=", 0.3),
            (">", 0.12),
            ("<", 0.12),
        ],
        "!=" if lang == Lang::JavaScript => &[("==", 0.7), ("!==", 0.3), ("<", 0.2), (">", 0.2)],
        "!=" => &[("==", 0.8), ("<", 0.2), (">", 0.2)],
        "===" => &[("!==", 0.8), ("==", 0.2), ("<=", 0.25), (">=", 0.25)],
        "!==" => &[("===", 0.8), ("!=", 0.2), ("<", 0.15), (">", 0.15)],
        "in" => &[("not in", 0.8)],
        "not in" => &[("in", 0.8)],
        "is" => &[("is not", 0.8), ("==", 0.3)],
        "is not" => &[("is", 0.8), ("!=", 0.3)],
        _ => &[],
    }
}

/// The same of arithmetic and of bits.
fn arithmetic(lang: Lang, operator: &str) -> &'static [(&'static str, f64)] {
    let python = lang == Lang::Python;
    match operator {
        "+" => &[("-", 0.7), ("*", 0.15)],
        "-" => &[("+", 0.7), ("*", 0.05), ("/", 0.05)],
        "*" if python => &[("/", 0.4), ("//", 0.3), ("+", 0.3), ("**", 0.1)],
        "*" => &[("/", 0.6), ("+", 0.3), ("-", 0.1), ("%", 0.1)],
        "/" if python => &[("//", 0.7), ("*", 0.6), ("%", 0.15)],
        "/" => &[("*", 0.6), ("%", 0.3), ("-", 0.05)],
        "//" => &[("/", 0.7), ("%", 0.5), ("*", 0.4)],
        "%" if python => &[("//", 0.6), ("/", 0.1)],
        "%" => &[("/", 0.5), ("*", 0.1)],
        "**" => &[("*", 0.6)],
        "&" => &[("|", 0.7), ("^", 0.2)],
        "|" => &[("&", 0.7), ("^", 0.2)],
        "^" => &[("&", 0.3), ("|", 0.3)],
        "<<" => &[(">>", 0.7)],
        ">>" => &[("<<", 0.7)],
        ">>>" => &[(">>", 0.5)],
        "&&" => &[("||", 0.9)],
        "||" => &[("&&", 0.9)],
        "and" => &[("or", 0.9)],
        "or" => &[("and", 0.9)],
        "??" => &[("||", 0.3), ("&&", 0.1)],
        _ => &[],
    }
}

fn assignments(operator: &str) -> &'static [(&'static str, f64)] {
    match operator {
        "+=" => &[("-=", 0.7), ("=", 0.6), ("*=", 0.2)],
        "-=" => &[("+=", 0.7), ("=", 0.5)],
        "*=" => &[("/=", 0.4), ("+=", 0.4), ("=", 0.3)],
        "/=" => &[("*=", 0.5), ("//=", 0.3)],
        "//=" => &[("/=", 0.3), ("*=", 0.3), ("%=", 0.3)],
        "%=" => &[("//=", 0.3), ("/=", 0.3)],
        "|=" => &[("&=", 0.6), ("=", 0.2)],
        "&=" => &[("|=", 0.6), ("=", 0.2)],
        "||=" => &[("&&=", 0.3), ("=", 0.3)],
        "<<=" => &[(">>=", 0.6)],
        ">>=" => &[("<<=", 0.6)],
        _ => &[],
    }
}

pub(super) fn edits(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let lang = place.lang;
    match node.kind() {
        "comparison_operator" => operators(place, node, out),
        "boolean_operator" | "binary_operator" | "binary_expression" => {
            operators(place, node, out);
            operands(place, node, out);
        }
        "augmented_assignment" | "augmented_assignment_expression" | "compound_assignment_expr" => {
            if let Some(operator) = node.child_by_field_name("operator") {
                for (new, weight) in assignments(place.said(operator)) {
                    out.put(Kind::Assignment, *weight, operator.byte_range(), *new);
                }
            }
        }
        "assignment" | "assignment_expression" => plain_assignment(place, node, out),
        "not_operator" | "unary_expression" | "unary_operator" => {
            let Some(inner) = node
                .child_by_field_name("argument")
                .or_else(|| node.named_child(0))
            else {
                return;
            };
            let sign = lang::cut(place.text, node.start_byte()..inner.start_byte()).trim();
            if matches!(sign, "not" | "!" | "-" | "~") {
                out.put(Kind::Condition, 0.7, node.byte_range(), place.said(inner));
            }
        }
        "update_expression" => {
            let said = place.said(node);
            let new = if said.contains("++") {
                said.replace("++", "--")
            } else {
                said.replace("--", "++")
            };
            out.put(Kind::Arithmetic, 0.6, node.byte_range(), new);
        }
        "range_expression" if lang == Lang::Rust => ranges(place, node, out),
        "conditional_expression" | "ternary_expression" => ternary(place, node, out),
        _ => {}
    }
    if let Some(condition) = condition(lang, node) {
        negate(place, condition, out);
    }
}

/// The condition of a branch or loop, without parentheses.
pub(super) fn condition(lang: Lang, node: Node<'_>) -> Option<Node<'_>> {
    let condition = match node.kind() {
        "if_statement" | "elif_clause" | "while_statement" | "if_expression"
        | "while_expression" | "ternary_expression" | "do_statement" => {
            node.child_by_field_name("condition")?
        }
        // Of an expression `a if b else c`, and of a comprehension.
        "conditional_expression" => node.named_child(1)?,
        "if_clause" => node.named_child(0)?,
        "for_statement" if lang == Lang::JavaScript => node.child_by_field_name("condition")?,
        _ => return None,
    };
    match condition.kind() {
        "parenthesized_expression" => condition.named_child(0),
        "let_condition" | "let_chain" => None,
        _ => Some(condition),
    }
}

fn operators(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    for at in 0..node.child_count() {
        let Some(token) = node.child(at).filter(|child| !child.is_named()) else {
            continue;
        };
        let operator = place.said(token);
        for (new, weight) in comparisons(place.lang, operator) {
            // `=== 3` to `<= 3`, but not `=== 'x'` to `<= 'x'`.
            let equal = matches!(operator, "==" | "===" | "!=" | "!==");
            let order = matches!(*new, "<" | "<=" | ">" | ">=");
            let right = node.child(at + 1).map_or("", |right| right.kind());
            let odd = place.lang.is_text(right)
                || matches!(right, "none" | "null" | "undefined" | "true" | "false");
            let weight = if equal && order && odd {
                weight * 0.05
            } else {
                *weight
            };
            out.put(Kind::Comparison, weight, token.byte_range(), *new);
        }
        for (new, weight) in arithmetic(place.lang, operator) {
            let logic = matches!(*new, "and" | "or" | "&&" | "||");
            let texts = lang::named(node)
                .iter()
                .any(|side| place.lang.is_text(side.kind()) || side.kind() == "template_string");
            let kind = if logic {
                Kind::Condition
            } else {
                Kind::Arithmetic
            };
            // Nothing but a sum is ever made of texts.
            let weight = if texts && !logic {
                weight * 0.05
            } else {
                *weight
            };
            out.put(kind, weight, token.byte_range(), *new);
        }
    }
}

/// One operand less; one more or less at a boundary.
fn operands(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let (Some(left), Some(right), Some(operator)) = (
        node.child_by_field_name("left"),
        node.child_by_field_name("right"),
        node.child_by_field_name("operator"),
    ) else {
        return;
    };
    let operator = place.said(operator);
    let (a, b) = (place.said(left), place.said(right));
    match operator {
        "and" | "or" | "&&" | "||" => {
            out.put(Kind::Condition, 0.35, node.byte_range(), a);
            out.put(Kind::Condition, 0.35, node.byte_range(), b);
            for (side, said) in [(left, a), (right, b)] {
                let compares = matches!(side.kind(), "boolean_operator" | "comparison_operator")
                    || side.kind() == "binary_expression" && said.contains(['<', '=', '>']);
                if !compares {
                    out.put(
                        Kind::Condition,
                        0.5,
                        side.byte_range(),
                        not(place.lang, said),
                    );
                }
            }
        }
        "+" | "-" | "*" | "/" | "//" | "%" => {
            if matches!(operator, "*" | "/" | "//" | "%") {
                for (side, said) in [(left, a), (right, b)] {
                    if side.child_count() == 0 && !place.lang.is_number(side.kind()) {
                        out.put(
                            Kind::Arithmetic,
                            0.25,
                            side.byte_range(),
                            format!("({said} - 1)"),
                        );
                        out.put(
                            Kind::Arithmetic,
                            0.25,
                            side.byte_range(),
                            format!("({said} + 1)"),
                        );
                    }
                }
            }
            let one = place.lang.is_number(right.kind());
            let share = match operator {
                "+" | "-" if one => 0.4,
                "+" | "-" => 0.15,
                _ => 0.06,
            };
            out.put(Kind::Arithmetic, share, node.byte_range(), a);
            if operator != "-" && operator != "/" && operator != "//" && operator != "%" {
                out.put(Kind::Arithmetic, 0.08, node.byte_range(), b);
            } else if a != b {
                out.put(
                    Kind::Arithmetic,
                    0.4,
                    node.byte_range(),
                    format!("{b} {operator} {a}"),
                );
            }
            // `a - b * c` and `(a - b) * c`.
            let inner = matches!(right.kind(), "binary_operator" | "binary_expression");
            if inner && let Some(first) = right.child_by_field_name("left") {
                out.both(
                    Kind::Arithmetic,
                    0.3,
                    vec![
                        (left.start_byte()..left.start_byte(), "(".to_owned()),
                        (first.end_byte()..first.end_byte(), ")".to_owned()),
                    ],
                );
            }
            if left.kind() == "parenthesized_expression"
                && let Some(inner) = left.named_child(0)
            {
                out.put(Kind::Arithmetic, 0.25, left.byte_range(), place.said(inner));
            }
        }
        "??" => {
            out.put(Kind::Condition, 0.1, node.byte_range(), a);
        }
        _ => {}
    }
}

fn plain_assignment(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let (Some(left), Some(right)) = (
        node.child_by_field_name("left"),
        node.child_by_field_name("right"),
    ) else {
        return;
    };
    let between = lang::cut(place.text, left.end_byte()..right.start_byte());
    if between.trim() != "=" {
        return;
    }
    let at = left.end_byte() + between.find('=').unwrap_or(0);
    for (new, weight) in [("+=", 0.5), ("-=", 0.2), ("*=", 0.03), ("|=", 0.03)] {
        out.put(Kind::Assignment, weight, at..at + 1, new);
    }
}

fn ranges(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    for at in 0..node.child_count() {
        let Some(token) = node.child(at) else {
            continue;
        };
        let first = at == 0;
        let last = at + 1 == node.child_count();
        match place.said(token) {
            ".." if !last => out.put(Kind::Comparison, 0.9, token.byte_range(), "..="),
            "..=" => out.put(Kind::Comparison, 0.9, token.byte_range(), ".."),
            _ => {}
        }
        if token.is_named() && (first || last) {
            let said = place.said(token);
            out.put(
                Kind::Arithmetic,
                0.35,
                token.byte_range(),
                format!("{said} + 1"),
            );
            out.put(
                Kind::Arithmetic,
                0.35,
                token.byte_range(),
                format!("{said} - 1"),
            );
        }
    }
}

fn ternary(place: &Place<'_>, node: Node<'_>, out: &mut Out<'_>) {
    let (yes, no) = if node.kind() == "conditional_expression" {
        (node.named_child(0), node.named_child(2))
    } else {
        (
            node.child_by_field_name("consequence"),
            node.child_by_field_name("alternative"),
        )
    };
    if let (Some(yes), Some(no)) = (yes, no) {
        out.put(Kind::Condition, 0.1, node.byte_range(), place.said(yes));
        out.put(Kind::Condition, 0.1, node.byte_range(), place.said(no));
    }
}

/// The opposite, as an expression that may stand anywhere.
pub(super) fn not(lang: Lang, said: &str) -> String {
    match lang {
        Lang::Python => format!("not ({said})"),
        _ => format!("!({said})"),
    }
}

fn negate(place: &Place<'_>, condition: Node<'_>, out: &mut Out<'_>) {
    let kind = condition.kind();
    // A comparison's opposite is among the comparisons.
    if matches!(
        kind,
        "comparison_operator" | "not_operator" | "unary_expression"
    ) {
        return;
    }
    let said = place.said(condition);
    let compares = kind == "binary_expression"
        && condition
            .child_by_field_name("operator")
            .is_some_and(|one| !comparisons(place.lang, place.said(one)).is_empty());
    if compares {
        return;
    }
    let new = match (place.lang, kind) {
        (Lang::Python, "identifier" | "attribute" | "call" | "subscript") => format!("not {said}"),
        (Lang::Python, _) => format!("not ({said})"),
        (_, "identifier" | "call_expression" | "member_expression" | "field_expression") => {
            format!("!{said}")
        }
        _ => format!("!({said})"),
    };
    out.put(Kind::Condition, 0.7, condition.byte_range(), new);
    if kind == "identifier" && place.lang == Lang::Python {
        out.put(
            Kind::Condition,
            0.15,
            condition.byte_range(),
            format!("{said} is not None"),
        );
        out.put(
            Kind::Condition,
            0.15,
            condition.byte_range(),
            format!("{said} is None"),
        );
    }
}
