//! Tests that tell instead of judging: each assertion becomes a record of what the program gave,
//! so that old and new can be compared where no test knows the right answer.

use tree_sitter::Node;

use crate::candidate::Edit;
use crate::facts::arguments;
use crate::lang::{self, Lang, text_of};

/// One test of a file.
#[derive(Debug, Clone, Copy)]
pub struct Test<'t> {
    /// The whole of it.
    pub node: Node<'t>,
    /// Its block.
    pub body: Node<'t>,
}

/// The tests of a file.
#[must_use]
pub fn tests<'t>(lang: Lang, text: &str, root: Node<'t>) -> Vec<(String, Test<'t>)> {
    let mut found = Vec::new();
    for node in lang::below(root) {
        let name = match (lang, node.kind()) {
            (Lang::Python, "function_definition") => node
                .child_by_field_name("name")
                .map(|name| text_of(text, name).to_owned())
                .filter(|name| name.starts_with("test")),
            (Lang::Rust, "function_item") => {
                let is_test = crate::project::attributes(text, node).any(|one| one == "#[test]");
                let panics =
                    crate::project::attributes(text, node).any(|one| one.contains("should_panic"));
                node.child_by_field_name("name")
                    .map(|name| text_of(text, name).to_owned())
                    .filter(|_| is_test && !panics)
            }
            (Lang::JavaScript, "call_expression") => {
                let function = node
                    .child_by_field_name("function")
                    .map_or("", |f| text_of(text, f));
                let all = arguments(node);
                let title = all.first().filter(|one| one.kind() == "string");
                title
                    .filter(|_| !matches!(function, "describe" | "suite"))
                    .map(|title| text_of(text, *title).trim_matches(['\'', '"']).to_owned())
            }
            _ => None,
        };
        let body = match lang {
            Lang::JavaScript => arguments(node).last().and_then(|last| {
                matches!(last.kind(), "arrow_function" | "function_expression")
                    .then(|| last.child_by_field_name("body"))
                    .flatten()
            }),
            _ => node.child_by_field_name("body"),
        };
        if let (Some(name), Some(body)) = (name, body.filter(|body| lang.is_block(body.kind()))) {
            found.push((name, Test { node, body }));
        }
    }
    found
}

/// Whether a function judges.
#[must_use]
pub fn is_assertion(lang: Lang, name: &str) -> bool {
    match lang {
        Lang::Python => {
            name.starts_with("self.assert")
                || name.starts_with("self.fail")
                || name.starts_with("pytest.")
        }
        Lang::JavaScript => {
            name == "assert"
                || name.starts_with("assert.")
                || name.starts_with("expect")
                || name.starts_with("t.assert")
        }
        Lang::Rust => name.starts_with("assert"),
    }
}

/// The edits that make one test tell: marks at its beginning and end, records for assertions.
#[must_use]
pub fn telling(file: usize, lang: Lang, text: &str, name: &str, test: Test<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let quoted = serde_json::to_string(name).unwrap_or_default();
    let put = |at: usize, text: String| Edit::new(file, at..at, text);
    match lang {
        Lang::Python => {
            let indent = lang::indent_at(text, test.body.start_byte());
            edits.push(put(
                test.body.start_byte(),
                format!("_grace_o.begin({quoted})\n{indent}"),
            ));
            edits.push(put(
                test.body.end_byte(),
                format!("\n{indent}_grace_o.end({quoted})"),
            ));
        }
        Lang::JavaScript => {
            let (start, end) = (
                test.body.start_byte() + 1,
                test.body.end_byte().saturating_sub(1),
            );
            edits.push(put(start, format!("_grace_o.begin({quoted});")));
            edits.push(put(end, format!(";_grace_o.end({quoted});")));
        }
        Lang::Rust => {
            let (start, end) = (
                test.body.start_byte() + 1,
                test.body.end_byte().saturating_sub(1),
            );
            edits.push(put(start, format!("__grace_mark!({quoted}, \"begin\");")));
            edits.push(put(end, format!(";__grace_mark!({quoted}, \"end\");")));
        }
    }
    for node in lang::below(test.body) {
        let edit = match lang {
            Lang::Python => python(text, node),
            Lang::JavaScript => javascript(text, node),
            Lang::Rust => rust(text, node, &quoted),
        };
        if let Some((range, new)) = edit {
            // An assertion inside of another one's function is told by the outer.
            let inside = edits
                .iter()
                .any(|edit| edit.start <= range.start && range.end <= edit.end);
            if !inside {
                edits.push(Edit::new(file, range, new));
            }
        }
    }
    edits
}

type Replacement = Option<(std::ops::Range<usize>, String)>;

fn python(text: &str, node: Node<'_>) -> Replacement {
    match node.kind() {
        "assert_statement" => {
            let value = node.named_child(0)?;
            let said = if value.kind() == "comparison_operator" && value.named_child_count() == 2 {
                let (a, b) = (value.named_child(0)?, value.named_child(1)?);
                format!("({}, {})", text_of(text, a), text_of(text, b))
            } else {
                format!("({})", text_of(text, value))
            };
            Some((node.byte_range(), format!("_grace_o.see(lambda: {said})")))
        }
        "with_statement" => {
            let clause = node.named_child(0)?;
            let said = text_of(text, clause);
            let raises = said.contains("assertRaises") || said.contains("pytest.raises");
            raises.then(|| (clause.byte_range(), "_grace_o.raises()".to_owned()))
        }
        "call" => {
            let function = text_of(text, node.child_by_field_name("function")?);
            if !function.starts_with("self.assert") {
                return None;
            }
            let list: Vec<&str> = arguments(node)
                .into_iter()
                .filter(|one| one.kind() != "keyword_argument")
                .map(|one| text_of(text, one))
                .collect();
            if node.parent()?.kind() != "expression_statement" {
                return None;
            }
            if function.contains("Raises") {
                let (_, rest) = list.split_first()?;
                let (called, given) = rest.split_first()?;
                return Some((
                    node.byte_range(),
                    format!("_grace_o.see(lambda: ({called})({}))", given.join(", ")),
                ));
            }
            let both: Vec<&str> = list.into_iter().take(2).collect();
            Some((
                node.byte_range(),
                format!("_grace_o.see(lambda: ({},))", both.join(", ")),
            ))
        }
        _ => None,
    }
}

fn javascript(text: &str, node: Node<'_>) -> Replacement {
    if node.kind() != "call_expression" {
        return None;
    }
    let function = node.child_by_field_name("function")?;
    let name = text_of(text, function);
    let list = arguments(node);
    let said: Vec<&str> = list.iter().map(|one| text_of(text, *one)).collect();
    if name == "assert" || name.starts_with("assert.") {
        let first = *said.first()?;
        let new = match name.rsplit('.').next()? {
            "throws" | "doesNotThrow" => format!("_grace_o.throws({first})"),
            "rejects" | "doesNotReject" => format!("_grace_o.rejects({first})"),
            _ => {
                let both: Vec<&str> = said.iter().take(2).copied().collect();
                seen(&both.join(", "))
            }
        };
        return Some((node.byte_range(), new));
    }
    // `expect(a).toBe(b)`, also with `.not`.
    let mut inner = function.child_by_field_name("object")?;
    if inner.kind() == "member_expression" {
        inner = inner.child_by_field_name("object")?;
    }
    let expects = inner.kind() == "call_expression"
        && text_of(text, inner.child_by_field_name("function")?) == "expect";
    if !expects {
        return None;
    }
    let subject = text_of(text, *arguments(inner).first()?);
    if name.contains("toThrow") {
        return Some((node.byte_range(), format!("_grace_o.throws({subject})")));
    }
    let mut both = vec![subject];
    both.extend(said.first().copied());
    Some((node.byte_range(), seen(&both.join(", "))))
}

/// What waits cannot stand in a function that does not.
fn seen(values: &str) -> String {
    if values.contains("await ") {
        format!("_grace_o.value([{values}])")
    } else {
        format!("_grace_o.see(() => [{values}])")
    }
}

fn rust(text: &str, node: Node<'_>, name: &str) -> Replacement {
    if node.kind() != "macro_invocation" {
        return None;
    }
    let called = text_of(text, node.child_by_field_name("macro")?);
    if !matches!(called, "assert_eq" | "assert_ne" | "assert") {
        return None;
    }
    let tree = lang::named(node)
        .into_iter()
        .find(|one| one.kind() == "token_tree")?;
    let inner = lang::cut(
        text,
        tree.start_byte() + 1..tree.end_byte().saturating_sub(1),
    );
    let parts = commas(inner);
    let taken = if called == "assert" { 1 } else { 2 };
    let new: String = parts
        .iter()
        .take(taken)
        .map(|part| format!("__grace_see!({name}, {});", part.trim()))
        .collect();
    Some((node.byte_range(), format!("{{{new}}}")))
}

/// The parts between commas that stand in no brackets and no text.
fn commas(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut quoted, mut escaped) = (0_i32, 0, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            quoted = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => quoted = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(lang::cut(text, start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    let rest = lang::cut(text, start..text.len());
    if !rest.trim().is_empty() {
        found.push(rest);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::apply;

    fn told(lang: Lang, text: &str) -> String {
        let tree = lang.parse(text).unwrap();
        let mut edits = Vec::new();
        for (name, test) in tests(lang, text, tree.root_node()) {
            edits.extend(telling(0, lang, text, &name, test));
        }
        let new = apply(text, edits.iter());
        assert_eq!(lang::errors(lang, &new), 0, "{new}");
        new
    }

    #[test]
    fn assertions_of_python_become_records() {
        let new = told(
            Lang::Python,
            "class T:\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n        with self.assertRaises(ValueError):\n            f(0)\n        assert g(3) == [1, 2], 'no'\n",
        );
        assert!(new.contains("_grace_o.see(lambda: (f(1), 2,))"), "{new}");
        assert!(new.contains("with _grace_o.raises():"), "{new}");
        assert!(new.contains("see(lambda: (g(3), [1, 2]))"), "{new}");
        assert!(
            new.trim_end().ends_with("_grace_o.end(\"test_a\")"),
            "{new}"
        );
    }

    #[test]
    fn assertions_of_javascript_and_rust_become_records() {
        let new = told(
            Lang::JavaScript,
            "test('a', async () => {\n  assert.strictEqual(f(1), 2);\n  assert.throws(() => f(0), /x/);\n  assert.deepEqual(await g(), [1]);\n});\n",
        );
        assert!(new.contains("_grace_o.see(() => [f(1), 2]);"), "{new}");
        assert!(new.contains("_grace_o.throws(() => f(0))"), "{new}");
        assert!(new.contains("_grace_o.value([await g(), [1]])"), "{new}");
        let new = told(
            Lang::Rust,
            "#[test]\nfn a() {\n    assert_eq!(f(1, 2), vec![3, 4], \"no\");\n    assert!(g());\n}\n",
        );
        assert!(
            new.contains("{__grace_see!(\"a\", f(1, 2));__grace_see!(\"a\", vec![3, 4]);}"),
            "{new}"
        );
    }
}
