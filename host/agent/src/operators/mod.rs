//! Edits of one place: from a node of a tree to the changes that may be the repair, each with how
//! likely it is among all changes of its place. Runs nothing and knows no suspicion.

mod calls;
mod compare;
mod constant;
mod guard;
mod made;
mod member;
mod names;
mod raise;
mod resources;
mod statements;
mod words;

use std::ops::Range;

use tree_sitter::Node;

use crate::candidate::{Candidate, Edit, Kind};
use crate::facts::{Facts, Scope};
use crate::failure::Failure;
use crate::lang::{self, Lang, text_of};
use crate::project::Project;

/// A name or constant that is less likely than this at its place is not tried: where tests are few
/// some far-fetched one always passes, and it is never the right one.
const LEAST: f64 = 0.05;

/// What the operators know of a file.
pub struct Place<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its language.
    pub lang: Lang,
    /// What it says.
    pub own: &'a Facts,
    /// What all sources say.
    pub all: &'a Facts,
    /// What the tests say.
    pub tests: &'a Facts,
    /// What went wrong.
    pub failure: &'a Failure,
}

impl Place<'_> {
    /// The text of a node.
    fn said(&self, node: Node<'_>) -> &str {
        text_of(self.text, node)
    }

    /// What a node can see.
    fn scope(&self, node: Node<'_>) -> Scope {
        crate::facts::scope(self.lang, self.text, node)
    }
}

/// Where edits are collected.
pub struct Out<'a> {
    file: usize,
    protected: &'a [Range<usize>],
    found: Vec<Candidate>,
}

impl Out<'_> {
    /// Adds a replacement.
    fn put(&mut self, kind: Kind, weight: f64, range: Range<usize>, text: impl Into<String>) {
        self.both(kind, weight, vec![(range, text.into())]);
    }

    /// Adds several replacements that belong together.
    fn both(&mut self, kind: Kind, weight: f64, edits: Vec<(Range<usize>, String)>) {
        let inside = |range: &Range<usize>| {
            self.protected
                .iter()
                .any(|out| range.start < out.end && out.start < range.end.max(range.start + 1))
        };
        let far = matches!(kind, Kind::Name | Kind::Constant) && weight < LEAST;
        if far || edits.iter().any(|(range, _)| inside(range)) {
            return;
        }
        let edits = edits
            .into_iter()
            .map(|(range, text)| Edit::new(self.file, range, text))
            .collect();
        self.found.push(Candidate {
            edits,
            kind,
            score: weight,
        });
    }
}

/// All single edits of all sources, in order of file and place; `score` is the operator's share.
/// Places where no line is `worth` it, by file and line, have none.
#[must_use]
pub fn singles(
    project: &Project,
    failure: &Failure,
    worth: &dyn Fn(usize, usize) -> bool,
) -> Vec<Candidate> {
    let mut all = Facts::default();
    let mut own = Vec::new();
    for (at, file, lang) in project.sources() {
        let facts = Facts::of(lang, &file.text);
        all.add(&facts);
        own.push((at, facts));
    }
    let mut tests = Facts::default();
    for (_, file, lang) in project.tests() {
        tests.add(&Facts::of(lang, &file.text));
    }
    let mut found = Vec::new();
    for (at, file, lang) in project.sources() {
        let Some((_, facts)) = own.iter().find(|(number, _)| *number == at) else {
            continue;
        };
        let place = Place {
            text: &file.text,
            lang,
            own: facts,
            all: &all,
            tests: &tests,
            failure,
        };
        let mut out = Out {
            file: at,
            protected: &file.protected,
            found: Vec::new(),
        };
        of_file(&place, &|line| worth(at, line), &mut out);
        found.append(&mut out.found);
    }
    found
}

fn of_file(place: &Place<'_>, worth: &dyn Fn(usize) -> bool, out: &mut Out<'_>) {
    let Some(tree) = place.lang.parse(place.text) else {
        return;
    };
    for node in lang::all_nodes(&tree) {
        let rows = node.start_position().row + 1..=node.end_position().row + 1;
        if skipped(place, node) || !rows.into_iter().any(worth) {
            continue;
        }
        compare::edits(place, node, out);
        constant::edits(place, node, out);
        names::edits(place, node, out);
        member::edits(place, node, out);
        calls::edits(place, node, out);
        statements::edits(place, node, out);
        guard::edits(place, node, out);
        raise::edits(place, node, out);
        resources::edits(place, node, out);
        made::edits(place, node, out);
    }
}

/// Imports, comments, types, attributes and bare texts say nothing that a repair would change.
fn skipped(place: &Place<'_>, node: Node<'_>) -> bool {
    let dull = |kind: &str| {
        matches!(
            kind,
            "import_statement"
                | "import_from_statement"
                | "future_import_statement"
                | "use_declaration"
                | "comment"
                | "line_comment"
                | "block_comment"
                | "attribute_item"
                | "inner_attribute_item"
                | "type"
                | "type_annotation"
                | "type_arguments"
                | "generic_type"
                | "type_identifier"
                | "primitive_type"
                | "reference_type"
                | "lifetime"
                | "mod_item_name"
                | "visibility_modifier"
                | "decorator"
        )
    };
    let documentation = place.lang.is_text(node.kind())
        && node
            .parent()
            .is_some_and(|up| up.kind() == "expression_statement");
    dull(node.kind())
        || documentation
        || lang::above(node).any(|up| dull(up.kind()) && up.kind() != "decorator")
}

/// Whether a statement's node.
pub fn is_statement(lang: Lang, node: Node<'_>) -> bool {
    let in_block = node
        .parent()
        .is_some_and(|up| lang.is_block(up.kind()) || up.kind() == "source_file");
    in_block && node.is_named() && !node.kind().contains("comment")
}

/// The innermost function around a node.
#[must_use]
pub fn function_of(lang: Lang, node: Node<'_>) -> Option<Node<'_>> {
    lang::above(node).find(|up| lang.is_function(up.kind()))
}

/// The statement that holds a node, or is it.
#[must_use]
pub fn statement_of(lang: Lang, node: Node<'_>) -> Option<Node<'_>> {
    std::iter::once(node)
        .chain(lang::above(node))
        .find(|up| is_statement(lang, *up))
}
