//! The change against no code at all: the statement that it touches deleted, and the function's
//! whole body. A change that the tests cannot tell from these has proved nothing, unless inputs
//! near those of the tests can.

use tree_sitter::Node;

use super::Case;
use super::observe::{self, Seen, Witness};
use crate::candidate::{Candidate, Edit, Kind};
use crate::lang::{self, Lang};
use crate::operators::{function_of, statement_of};
use crate::project::Role;
use crate::report::Neighbours;

/// Whether the change is told from each deletion, by the tests or by the neighbours.
pub(super) fn beaten(
    case: &Case<'_>,
    witness: &Witness,
    old: &Seen,
    candidate: &Candidate,
    neighbours: Neighbours,
) -> bool {
    if takes_away(candidate) {
        // It is a deletion itself: it stands only if all that worked is as it was.
        return neighbours.run > 0 && neighbours.diverged == 0;
    }
    let deletions = deletions(case, candidate);
    deletions.iter().all(|deletion| {
        let passes = case
            .lab
            .candidate(0, deletion)
            .is_ok_and(|run| run.passed());
        if !passes {
            return true;
        }
        if same(case, deletion, candidate) {
            // The change is itself the deletion of a statement: it stands if nothing else changed.
            return neighbours.run > 0 && neighbours.diverged == 0;
        }
        let (theirs, broken) = observe::compare(old, &witness.see(case, Some(deletion)));
        theirs.diverged + broken > neighbours.diverged
    })
}

/// Whether a change puts nothing in the place of what it takes away.
fn takes_away(candidate: &Candidate) -> bool {
    let empty = |edit: &Edit| matches!(edit.text.trim(), "" | "pass" | "{}" | ";");
    let readable = !matches!(candidate.kind, Kind::Config | Kind::Syntax | Kind::Compiler);
    // An argument less is still the same call.
    let less = candidate.kind != Kind::Argument && candidate.edits.iter().all(empty);
    readable && (candidate.kind == Kind::Delete || less)
}

fn same(case: &Case<'_>, a: &Candidate, b: &Candidate) -> bool {
    let squeezed = |one: &Candidate| -> Vec<String> {
        one.changed(&case.lab.project)
            .iter()
            .map(|(_, text)| text.split_whitespace().collect())
            .collect()
    };
    squeezed(a) == squeezed(b)
}

/// The deletions that a change has to beat. Of configuration and of what could not be read it is
/// the lines that it touches.
fn deletions(case: &Case<'_>, candidate: &Candidate) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    if matches!(candidate.kind, Kind::Config | Kind::Syntax | Kind::Compiler) {
        for edit in &candidate.edits {
            let Some(file) = case.lab.project.files.get(edit.file) else {
                continue;
            };
            let starts = lang::line_starts(&file.text);
            let first = starts
                .iter()
                .rfind(|at| **at <= edit.start)
                .copied()
                .unwrap_or(0);
            let last = starts.iter().find(|at| **at > edit.end).copied();
            let gone = first..last.unwrap_or(file.text.len());
            found.push(Candidate::one(
                Kind::Delete,
                0.0,
                Edit::new(edit.file, gone, ""),
            ));
        }
        return found;
    }
    for edit in &candidate.edits {
        let Some(file) = case.lab.project.files.get(edit.file) else {
            continue;
        };
        let Role::Source(lang) = file.role else {
            continue;
        };
        let Some(tree) = lang.parse(&file.text) else {
            continue;
        };
        let Some(node) = tree.root_node().descendant_for_byte_range(
            edit.start,
            edit.end.max(edit.start + 1).min(file.text.len()),
        ) else {
            continue;
        };
        // Something put in front of a statement touches no statement: what is deleted is nothing.
        let inserted = edit.start == edit.end;
        if let Some(statement) = statement_of(lang, node)
            && function_of(lang, statement).is_some()
            && !inserted
            && !is_binding(statement)
        {
            let nothing = if lang == Lang::Python { "pass" } else { "" };
            let edit = Edit::new(edit.file, statement.byte_range(), nothing);
            found.push(Candidate::one(Kind::Delete, 0.0, edit));
        }
        if let Some(body) = function_of(lang, node).and_then(|f| f.child_by_field_name("body")) {
            found.extend(emptied(edit.file, lang, body));
        }
    }
    found.dedup_by(|a, b| a.edits == b.edits);
    found
}

/// A variable that is given its value: without it the rest cannot run, which proves nothing.
fn is_binding(statement: Node<'_>) -> bool {
    matches!(
        statement.kind(),
        "let_declaration"
            | "lexical_declaration"
            | "variable_declaration"
            | "function_definition"
            | "function_declaration"
    )
}

fn emptied(file: usize, lang: Lang, body: Node<'_>) -> Option<Candidate> {
    let text = match (lang, body.kind()) {
        (Lang::Python, "block") => "pass",
        (Lang::JavaScript, "statement_block") => "{}",
        // What compiles whatever the function gives back.
        (Lang::Rust, "block") => "{ Default::default() }",
        _ => return None,
    };
    lang::named(body).first()?;
    let edit = Edit::new(file, body.byte_range(), text);
    Some(Candidate::one(Kind::Delete, 0.0, edit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_puts_nothing_in_place_is_known_as_a_deletion() {
        let one = |kind, text: &str| Candidate::one(kind, 1.0, Edit::new(0, 3..9, text));
        assert!(takes_away(&one(Kind::Delete, "")));
        assert!(takes_away(&one(Kind::Arithmetic, "  ")));
        assert!(takes_away(&one(Kind::Condition, "pass")));
        assert!(!takes_away(&one(Kind::Condition, "a > b")));
        // A mark too many in text that cannot be read is no feature.
        assert!(!takes_away(&one(Kind::Syntax, "")));
    }
}
