//! Inputs near those of the tests: a test's own text with one value in it a little different.

use tree_sitter::Node;

use crate::candidate::Edit;
use crate::lang::{self, Lang};

/// One value of a test, somewhat different. None when nothing of it can be.
#[must_use]
pub fn near(
    file: usize,
    lang: Lang,
    text: &str,
    test: Node<'_>,
    random: &mut fastrand::Rng,
) -> Option<Edit> {
    let places: Vec<Node<'_>> = lang::below(test)
        .into_iter()
        .filter(|node| {
            lang.is_number(node.kind()) || lang.is_text(node.kind()) || is_truth(node.kind())
        })
        .filter(|node| is_input(lang, text, test, *node))
        .collect();
    let node = *places.get(random.usize(..places.len().max(1)))?;
    let said = lang::text_of(text, node);
    let new = if lang.is_number(node.kind()) {
        number(lang, said, random)?
    } else if lang.is_text(node.kind()) {
        string(said, random)?
    } else {
        truth(said)?
    };
    Some(Edit::new(file, node.byte_range(), new))
}

fn is_truth(kind: &str) -> bool {
    matches!(kind, "true" | "false" | "boolean_literal")
}

/// Whether a value goes into the program: an argument of a call that is no assertion, or what a
/// variable begins with. What an assertion expects goes nowhere.
fn is_input(lang: Lang, text: &str, test: Node<'_>, node: Node<'_>) -> bool {
    for up in lang::above(node) {
        if up == test {
            return false;
        }
        if lang.is_call(up.kind()) || up.kind() == "new_expression" {
            let function = up
                .child_by_field_name("function")
                .or_else(|| up.child_by_field_name("constructor"));
            let name = function.map_or("", |function| lang::text_of(text, function));
            if !super::rewrite::is_assertion(lang, name) {
                return true;
            }
            return false;
        }
        // Inside of a macro there are no trees, so what it is given is looked at as text.
        if up.kind() == "macro_invocation" {
            let said = lang::text_of(text, up);
            let before = lang::cut(text, up.start_byte()..node.start_byte());
            let open = before.matches('(').count() > before.matches(')').count() + 1;
            return said.starts_with("assert") && open || said.starts_with("vec!");
        }
        if matches!(
            up.kind(),
            "assignment" | "variable_declarator" | "let_declaration"
        ) {
            return true;
        }
    }
    false
}

fn number(lang: Lang, said: &str, random: &mut fastrand::Rng) -> Option<String> {
    let digits: String = said
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let suffix = said.get(digits.len()..).unwrap_or_default();
    if digits.contains('.') {
        let value: f64 = digits.parse().ok()?;
        let new = *random.choice(&[value + 1.0, value * 2.0, value + 0.5, 0.0])?;
        return Some(format!("{new:?}{suffix}"));
    }
    let value: i64 = digits.parse().ok()?;
    let mut choices = vec![
        value + 1,
        value + 2,
        value.saturating_mul(2),
        value.saturating_mul(10),
        0,
    ];
    if value > 0 {
        choices.push(value - 1);
    }
    if lang != Lang::Rust && value > 0 {
        choices.push(-value);
    }
    choices.retain(|one| *one != value);
    random.choice(choices).map(|new| format!("{new}{suffix}"))
}

fn string(said: &str, random: &mut fastrand::Rng) -> Option<String> {
    let start = said.find(['"', '\''])?;
    let quote = said.get(start..=start)?;
    let end = said.rfind(quote)?;
    if end <= start || said.get(start..start + 3) == Some("\"\"\"") || said.contains('\\') {
        return None;
    }
    let (open, inner, close) = (
        said.get(..=start)?,
        said.get(start + 1..end)?,
        said.get(end..)?,
    );
    let shorter: String = inner.chars().skip(1).collect();
    let twice = format!("{inner}{inner}");
    let mut choices = vec![
        format!("{inner}x"),
        format!("{inner} "),
        String::new(),
        shorter,
        inner.to_uppercase(),
        format!("{inner}1"),
        twice,
        inner.chars().rev().collect(),
    ];
    choices.retain(|one| one != inner);
    random
        .choice(choices)
        .map(|new| format!("{open}{new}{close}"))
}

fn truth(said: &str) -> Option<String> {
    let new = match said {
        "true" => "false",
        "false" => "true",
        "True" => "False",
        "False" => "True",
        _ => return None,
    };
    Some(new.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_into_the_program_is_varied() {
        let text = "def test_a(self):\n    s = Shop(3)\n    self.assertEqual(s.total('ab'), 77)\n";
        let tree = Lang::Python.parse(text).unwrap();
        let test = tree.root_node().named_child(0).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let edit = near(0, Lang::Python, text, test, &mut random).unwrap();
            let old = &text[edit.range()];
            assert!(old == "3" || old == "'ab'", "{old}");
            assert_ne!(old, edit.text);
        }
    }
}
