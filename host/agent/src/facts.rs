//! What the files say themselves, as material for edits: numbers, texts, members, functions and
//! calls, and which names a place can see. Proposes nothing.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::Node;

use crate::lang::{self, Lang, text_of};

/// Material of one file, or of several.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Numbers as they are written.
    pub numbers: BTreeMap<String, usize>,
    /// Texts with their quotes.
    pub texts: BTreeMap<String, usize>,
    /// Members that are not called.
    pub fields: BTreeMap<String, usize>,
    /// Members that are called, and with how many arguments at least.
    pub methods: BTreeMap<String, usize>,
    /// Functions that are called with one argument.
    pub unary: BTreeMap<String, usize>,
    /// Functions and their parameters.
    pub functions: BTreeMap<String, Vec<String>>,
    /// Names of all sorts.
    pub names: BTreeMap<String, usize>,
    /// Errors that are raised, as they are written.
    pub raised: BTreeMap<String, usize>,
    /// What functions return, as it is written, where it is short.
    pub returned: BTreeMap<String, usize>,
}

impl Facts {
    /// Of one text.
    #[must_use]
    pub fn of(lang: Lang, text: &str) -> Self {
        let mut facts = Self::default();
        if let Some(tree) = lang.parse(text) {
            for node in lang::all_nodes(&tree) {
                facts.see(lang, text, node);
            }
        }
        facts
    }

    /// Adds what another file says.
    pub fn add(&mut self, other: &Self) {
        let lists = [
            (&mut self.numbers, &other.numbers),
            (&mut self.texts, &other.texts),
            (&mut self.fields, &other.fields),
            (&mut self.methods, &other.methods),
            (&mut self.unary, &other.unary),
            (&mut self.names, &other.names),
            (&mut self.raised, &other.raised),
            (&mut self.returned, &other.returned),
        ];
        for (mine, theirs) in lists {
            for (key, count) in theirs {
                *mine.entry(key.clone()).or_default() += count;
            }
        }
        for (name, parameters) in &other.functions {
            self.functions
                .entry(name.clone())
                .or_insert_with(|| parameters.clone());
        }
    }

    fn see(&mut self, lang: Lang, text: &str, node: Node<'_>) {
        let kind = node.kind();
        let said = text_of(text, node);
        let count = |map: &mut BTreeMap<String, usize>, key: &str| {
            if key.len() <= 80 && !key.contains('\n') {
                *map.entry(key.to_owned()).or_default() += 1;
            }
        };
        if lang.is_number(kind) {
            count(&mut self.numbers, said);
        } else if lang.is_text(kind) {
            if node
                .parent()
                .is_none_or(|up| up.kind() != "expression_statement")
            {
                count(&mut self.texts, said);
            }
        } else if kind == "identifier" {
            let attribute = node.parent().is_some_and(|up| {
                up.kind() == "attribute" && up.child_by_field_name("attribute") == Some(node)
            });
            if attribute {
                self.member(lang, text, node);
            } else {
                count(&mut self.names, said);
            }
        } else if lang.is_member(kind) {
            self.member(lang, text, node);
        } else if lang.is_call(kind) {
            let function = node.child_by_field_name("function");
            let one = arguments(node).len() == 1;
            if let Some(function) = function.filter(|f| f.kind() == "identifier")
                && one
            {
                count(&mut self.unary, text_of(text, function));
            }
        } else if lang.is_function(kind) {
            if let Some(name) = node.child_by_field_name("name") {
                let parameters = parameters(lang, text, node);
                self.functions
                    .insert(text_of(text, name).to_owned(), parameters);
            }
        } else if matches!(kind, "raise_statement" | "throw_statement") {
            if let Some(value) = node.named_child(0) {
                count(&mut self.raised, text_of(text, value));
            }
        } else if matches!(kind, "return_statement" | "return_expression")
            && let Some(value) = node.named_child(0)
            && value.child_count() <= 2
        {
            count(&mut self.returned, text_of(text, value));
        }
    }

    fn member(&mut self, lang: Lang, text: &str, node: Node<'_>) {
        let name = text_of(text, node).to_owned();
        let holder = node.parent();
        let call = holder.and_then(|holder| holder.parent()).filter(|call| {
            lang.is_call(call.kind()) && call.child_by_field_name("function") == holder
        });
        match call {
            Some(call) => {
                let given = arguments(call).len();
                let least = self.methods.entry(name).or_insert(given);
                *least = given.min(*least);
            }
            None => *self.fields.entry(name).or_default() += 1,
        }
    }
}

/// The arguments of a call.
#[must_use]
pub fn arguments(call: Node<'_>) -> Vec<Node<'_>> {
    let list = call
        .child_by_field_name("arguments")
        .filter(|list| matches!(list.kind(), "argument_list" | "arguments"));
    list.map(lang::named)
        .unwrap_or_default()
        .into_iter()
        .filter(|node| node.kind() != "comment")
        .collect()
}

/// The names of a function's parameters, without `self`.
#[must_use]
pub fn parameters(lang: Lang, text: &str, function: Node<'_>) -> Vec<String> {
    let list = function
        .child_by_field_name("parameters")
        .or_else(|| function.child_by_field_name("parameter"));
    let Some(list) = list else { return Vec::new() };
    let mut found = Vec::new();
    for parameter in lang::below(list) {
        if parameter.kind() != "identifier" {
            continue;
        }
        // Defaults and types are no names of parameters.
        let value = parameter.parent().is_some_and(|up| {
            up.child_by_field_name("value") == Some(parameter)
                || up.child_by_field_name("right") == Some(parameter)
                || up.kind() == "type"
                || up.kind() == "scoped_type_identifier"
        });
        let name = text_of(text, parameter);
        let own = matches!(name, "self" | "cls" | "this");
        let receiver = own && lang != Lang::JavaScript;
        if !value && !receiver {
            found.push(name.to_owned());
        }
    }
    found
}

/// Names that a place can see.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Parameters and variables of the functions around it.
    pub locals: BTreeSet<String>,
    /// Names of the file that hold values.
    pub globals: BTreeSet<String>,
    /// Members of the object that it belongs to, with `self.` or `this.`.
    pub own: BTreeSet<String>,
}

/// What `node` can see.
#[must_use]
pub fn scope(lang: Lang, text: &str, node: Node<'_>) -> Scope {
    let mut scope = Scope::default();
    let mut top = node;
    for up in lang::above(node) {
        if lang.is_function(up.kind()) {
            scope.locals.extend(parameters(lang, text, up));
            for inner in lang::below(up) {
                if let Some(name) = bound(lang, text, inner) {
                    scope.locals.insert(name);
                }
            }
        }
        if matches!(up.kind(), "class_definition" | "class_body" | "impl_item") {
            for inner in lang::below(up) {
                let object = inner
                    .child_by_field_name("object")
                    .or_else(|| inner.child_by_field_name("value"));
                let whole = matches!(
                    inner.kind(),
                    "attribute" | "member_expression" | "field_expression"
                );
                let called = inner.parent().is_some_and(|up| {
                    lang.is_call(up.kind()) && up.child_by_field_name("function") == Some(inner)
                });
                if whole
                    && !called
                    && object.is_some_and(|o| matches!(text_of(text, o), "self" | "this"))
                {
                    scope.own.insert(text_of(text, inner).to_owned());
                }
            }
        }
        top = up;
    }
    for item in lang::named(top) {
        let statement = match item.kind() {
            "expression_statement" | "export_statement" => item.named_child(0).unwrap_or(item),
            _ => item,
        };
        for one in [statement]
            .into_iter()
            .chain(lang::named(statement).into_iter().take(3))
        {
            if let Some(name) = bound(lang, text, one) {
                scope.globals.insert(name);
            }
        }
    }
    scope
}

/// Parameters and variables of the function around a node that nothing reads: who meant them wrote
/// something else.
#[must_use]
pub fn unread(lang: Lang, text: &str, node: Node<'_>) -> BTreeSet<String> {
    let Some(function) = lang::above(node).find(|up| lang.is_function(up.kind())) else {
        return BTreeSet::new();
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for inner in lang::below(function) {
        if inner.kind() == "identifier" || inner.kind() == "shorthand_property_identifier" {
            *counts.entry(text_of(text, inner)).or_default() += 1;
        }
    }
    let named = scope(lang, text, node).locals;
    named
        .into_iter()
        .filter(|name| counts.get(name.as_str()) == Some(&1))
        .collect()
}

/// The name that a node gives a value to.
fn bound(lang: Lang, text: &str, node: Node<'_>) -> Option<String> {
    let target = match (lang, node.kind()) {
        (Lang::Python, "assignment") => node.child_by_field_name("left")?,
        (Lang::Python, "for_statement" | "for_in_clause") => node.child_by_field_name("left")?,
        (Lang::Python, "as_pattern_target") => node.named_child(0)?,
        (Lang::JavaScript, "variable_declarator") => node.child_by_field_name("name")?,
        (Lang::JavaScript, "for_in_statement") => node.child_by_field_name("left")?,
        (Lang::Rust, "let_declaration" | "for_expression") => {
            node.child_by_field_name("pattern")?
        }
        (Lang::Rust, "const_item" | "static_item") => node.child_by_field_name("name")?,
        _ => return None,
    };
    if target.kind() == "identifier" {
        return Some(text_of(text, target).to_owned());
    }
    // `a, b = ...`: the last of them; the others are found as names where they are used.
    lang::below(target)
        .into_iter()
        .rfind(|inner| {
            matches!(
                inner.kind(),
                "identifier" | "shorthand_property_identifier_pattern"
            )
        })
        .map(|inner| text_of(text, inner).to_owned())
}

/// How alike two words are: 1 the same, 0 nothing in common. By edits, and by common parts of
/// names with underscores or humps.
#[must_use]
pub fn alike(a: &str, b: &str) -> f64 {
    let longest = a.chars().count().max(b.chars().count()).max(1);
    let by_edits = 1.0 - distance(a, b) as f64 / longest as f64;
    let parts = |word: &str| -> BTreeSet<String> {
        let mut parts = BTreeSet::new();
        let mut part = String::new();
        for c in word.chars() {
            if c == '_' || c.is_uppercase() {
                if part.len() > 1 {
                    parts.insert(part.to_lowercase());
                }
                part = String::new();
            }
            if c != '_' {
                part.push(c);
            }
        }
        if part.len() > 1 {
            parts.insert(part.to_lowercase());
        }
        parts
    };
    let (mine, theirs) = (parts(a), parts(b));
    let common = mine.intersection(&theirs).count() as f64;
    let by_parts = common / mine.union(&theirs).count().max(1) as f64;
    by_edits.max(by_parts).max(0.0)
}

/// Edits from one word to the other, a swap of neighbours counting once.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 24 || a.len() > 64 {
        return a.len().max(b.len());
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: Option<&Vec<usize>>, column: usize| {
                row.and_then(|row| row.get(column))
                    .copied()
                    .unwrap_or(usize::MAX / 2)
            };
            let above = rows.last();
            let mut best = (at(above, j) + usize::from(x != y))
                .min(at(above, j + 1) + 1)
                .min(at(Some(&row), j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(rows.get(i - 1), j - 1) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_alike_by_edits_and_by_their_parts() {
        assert_eq!(distance("name", "naem"), 1);
        assert_eq!(distance("timeout", "timeuot"), 1);
        assert!(alike("start_date", "end_date") > 0.3);
        assert!(alike("x", "counter") < 0.2);
    }

    #[test]
    fn a_place_sees_parameters_variables_and_the_objects_own_members() {
        let text = "LIMIT = 3\nclass A:\n    def f(self, a, b=LIMIT):\n        c = self.d\n        return c\n";
        let tree = Lang::Python.parse(text).unwrap();
        let at = text.find("return").unwrap();
        let node = tree
            .root_node()
            .descendant_for_byte_range(at, at + 6)
            .unwrap();
        let seen = scope(Lang::Python, text, node);
        assert!(
            ["a", "b", "c"]
                .iter()
                .all(|name| seen.locals.contains(*name))
        );
        assert!(seen.own.contains("self.d") && seen.globals.contains("LIMIT"));
        assert!(!seen.locals.contains("LIMIT"));
    }
}
