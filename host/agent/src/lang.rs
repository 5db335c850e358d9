//! The three languages and their trees. Knows which grammar reads which file, and nothing of
//! repairs.

use std::ops::Range;
use std::path::Path;

use tree_sitter::{Node, Parser, Tree};

/// A language of source code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lang {
    /// Python.
    Python,
    /// JavaScript.
    JavaScript,
    /// Rust.
    Rust,
}

impl Lang {
    /// By the end of the file's name.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "py" => Some(Lang::Python),
            "js" | "mjs" | "cjs" | "jsx" => Some(Lang::JavaScript),
            "rs" => Some(Lang::Rust),
            _ => None,
        }
    }

    /// The tree of a text; of a broken one too. None when the parser gives up.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<Tree> {
        let grammar = match self {
            Lang::Python => tree_sitter_python::LANGUAGE,
            Lang::JavaScript => tree_sitter_javascript::LANGUAGE,
            Lang::Rust => tree_sitter_rust::LANGUAGE,
        };
        let mut parser = Parser::new();
        parser.set_language(&grammar.into()).ok()?;
        parser.parse(text, None)
    }

    /// Whether a node is a function with a body of its own.
    #[must_use]
    pub fn is_function(self, kind: &str) -> bool {
        match self {
            Lang::Python => matches!(kind, "function_definition" | "lambda"),
            Lang::JavaScript => matches!(
                kind,
                "function_declaration"
                    | "function_expression"
                    | "method_definition"
                    | "arrow_function"
                    | "generator_function_declaration"
            ),
            Lang::Rust => matches!(kind, "function_item" | "closure_expression"),
        }
    }

    /// Whether a node is a block of statements.
    #[must_use]
    pub fn is_block(self, kind: &str) -> bool {
        match self {
            Lang::Python => matches!(kind, "block" | "module"),
            Lang::JavaScript => matches!(kind, "statement_block" | "program"),
            Lang::Rust => kind == "block",
        }
    }

    /// Whether a node is a loop.
    #[must_use]
    pub fn is_loop(self, kind: &str) -> bool {
        matches!(
            kind,
            "for_statement"
                | "while_statement"
                | "for_in_statement"
                | "do_statement"
                | "for_expression"
                | "while_expression"
                | "loop_expression"
        )
    }

    /// Whether a node is the name of a member.
    #[must_use]
    pub fn is_member(self, kind: &str) -> bool {
        matches!(kind, "property_identifier" | "field_identifier")
    }

    /// Whether a node is a number.
    #[must_use]
    pub fn is_number(self, kind: &str) -> bool {
        matches!(
            kind,
            "integer" | "float" | "number" | "integer_literal" | "float_literal"
        )
    }

    /// Whether a node is a text.
    #[must_use]
    pub fn is_text(self, kind: &str) -> bool {
        matches!(kind, "string" | "string_literal")
    }

    /// Whether a node is a call.
    #[must_use]
    pub fn is_call(self, kind: &str) -> bool {
        matches!(kind, "call" | "call_expression")
    }
}

/// A part of a text; empty when the range does not fit.
#[must_use]
pub fn cut(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

/// The text of a node.
#[must_use]
pub fn text_of<'a>(text: &'a str, node: Node<'_>) -> &'a str {
    cut(text, node.byte_range())
}

/// All nodes from the top, parents first.
#[must_use]
pub fn all_nodes<'t>(tree: &'t Tree) -> Vec<Node<'t>> {
    below(tree.root_node())
}

/// A node and all below it, parents first.
#[must_use]
pub fn below(node: Node<'_>) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        found.push(node);
        for at in (0..node.child_count()).rev() {
            if let Some(child) = node.child(at) {
                open.push(child);
            }
        }
    }
    found
}

/// The named children.
#[must_use]
pub fn named(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

/// How many places of a text the grammar cannot read.
#[must_use]
pub fn errors(lang: Lang, text: &str) -> usize {
    let Some(tree) = lang.parse(text) else {
        return usize::MAX;
    };
    if !tree.root_node().has_error() {
        return 0;
    }
    all_nodes(&tree)
        .iter()
        .filter(|node| node.is_error() || node.is_missing())
        .count()
        .max(1)
}

/// Walks up from a node, itself not included.
pub fn above(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    std::iter::successors(node.parent(), |node| node.parent())
}

/// The line of a byte, from 1.
#[must_use]
pub fn line_of(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where each line begins, and the end of the text.
#[must_use]
pub fn line_starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    starts
}

/// The spaces before the first word of the line that holds this byte.
#[must_use]
pub fn indent_at(text: &str, byte: usize) -> &str {
    let start = text
        .get(..byte)
        .and_then(|head| head.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = text.get(start..).unwrap_or_default();
    let end = line
        .find(|c: char| c != ' ' && c != '\t')
        .unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}
