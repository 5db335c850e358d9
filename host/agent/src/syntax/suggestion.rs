//! What the Rust compiler proposes in its own output: lines with a plus, or lines that are shown
//! as they should be.

use crate::candidate::{Candidate, Edit, Kind};
use crate::failure::Failure;
use crate::lang::{self, line_starts};
use crate::project::{Project, Role};

/// Candidates from `help:` parts.
#[must_use]
pub fn suggestions(project: &Project, failure: &Failure) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut file = None;
    let mut helping = false;
    let mut edits: Vec<Edit> = Vec::new();
    let lines: Vec<&str> = failure.output.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if let Some(place) = trimmed
            .strip_prefix("--> ")
            .or_else(|| trimmed.strip_prefix("::: "))
        {
            file = project.find(place.split(':').next().unwrap_or_default());
            continue;
        }
        if trimmed.starts_with("help:") || trimmed.starts_with("= help:") {
            close(&mut edits, &mut found);
            helping = true;
            continue;
        }
        let over = trimmed.is_empty()
            || trimmed.starts_with("error")
            || trimmed.starts_with("warning")
            || trimmed.starts_with("note:");
        if over {
            close(&mut edits, &mut found);
            helping = false;
        }
        let Some(at) = file.filter(|_| helping) else {
            continue;
        };
        let Some((head, rest)) = trimmed.split_once(' ') else {
            continue;
        };
        let Ok(row) = head.parse::<usize>() else {
            continue;
        };
        let text = project
            .files
            .get(at)
            .filter(|file| matches!(file.role, Role::Source(_)));
        let Some(text) = text.map(|file| &*file.text) else {
            continue;
        };
        let starts = line_starts(text);
        let Some(start) = row.checked_sub(1).and_then(|row| starts.get(row)).copied() else {
            continue;
        };
        let end = starts.get(row).copied().unwrap_or(text.len());
        let said = |rest: &str| rest.strip_prefix(' ').unwrap_or(rest).trim_end().to_owned();
        if let Some(new) = rest.trim_start().strip_prefix("+ ") {
            // Where a line with a minus came before, this one stands for it.
            let replaced = lines
                .get(number.saturating_sub(1))
                .is_some_and(|before| before.trim_start().starts_with(&format!("{row} -")));
            let range = if replaced { start..end } else { start..start };
            edits.push(Edit::new(at, range, format!("{}\n", new.trim_end())));
        } else if let Some(new) = rest.trim_start().strip_prefix("~ ") {
            edits.push(Edit::new(at, start..end, format!("{}\n", new.trim_end())));
        } else if let Some(new) = rest.trim_start().strip_prefix('|') {
            let marked = lines.get(number + 1).is_some_and(|next| {
                let marks = next.trim_start().trim_start_matches('|').trim();
                !marks.is_empty() && marks.chars().all(|c| "+~- ".contains(c))
            });
            if marked && said(new) != lang::cut(text, start..end).trim_end() {
                edits.push(Edit::new(at, start..end, format!("{}\n", said(new))));
            }
        }
    }
    close(&mut edits, &mut found);
    found
}

fn close(edits: &mut Vec<Edit>, found: &mut Vec<Candidate>) {
    if edits.is_empty() {
        return;
    }
    for edit in edits.iter() {
        if edits.len() > 1 {
            found.push(Candidate::one(Kind::Compiler, 40.0, edit.clone()));
        }
    }
    found.push(Candidate {
        edits: std::mem::take(edits),
        kind: Kind::Compiler,
        score: 50.0,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(output: &str, text: &str) -> Vec<String> {
        let project = Project::new(vec![("src/lib.rs".into(), text.into())], "");
        let failure = Failure {
            output: output.to_owned(),
            ..Failure::default()
        };
        suggestions(&project, &failure)
            .iter()
            .map(|one| one.changed(&project)[0].1.to_string())
            .collect()
    }

    #[test]
    fn what_the_compiler_proposes_becomes_a_candidate() {
        let output = "error[E0433]: failed to resolve\n --> src/lib.rs:2:5\n  |\n2 |     HashMap::new()\n  |     ^^^^^^^\n  |\nhelp: consider importing this struct\n  |\n1 + use std::collections::HashMap;\n  |\n";
        let found = mended(output, "fn f() {\n    HashMap::new()\n}\n");
        assert_eq!(
            found,
            ["use std::collections::HashMap;\nfn f() {\n    HashMap::new()\n}\n"]
        );
        let output = "error[E0308]: mismatched\n --> src/lib.rs:1:9\n  |\nhelp: consider borrowing here\n  |\n1 | f(&x)\n  |   +\n";
        assert_eq!(mended(output, "f(x)\n"), ["f(&x)\n"]);
    }
}
