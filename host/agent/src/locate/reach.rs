//! What tests can reach, read from the texts alone: the functions that a test names, the functions
//! that these name, and so on. For languages without a tracer and interpreters that refuse it.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::lang::{self, Lang, text_of};
use crate::project::{Project, Role};

struct Function {
    name: String,
    file: usize,
    lines: std::ops::RangeInclusive<usize>,
    words: BTreeSet<String>,
    /// Inside of what the search may not change.
    test: bool,
}

/// The suspicion of lines, by file: Ochiai's, over tests that reach the function of a line.
#[must_use]
pub fn reached(project: &Project, failure: &Failure) -> BTreeMap<usize, BTreeMap<usize, f64>> {
    let functions = functions(project);
    let tests: Vec<&Function> = functions.iter().filter(|one| one.test).collect();
    let fails = |name: &str| {
        failure
            .failing
            .iter()
            .any(|one| one == name || one.ends_with(&format!("::{name}")))
    };
    let failing = tests.iter().filter(|test| fails(&test.name)).count();
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for test in &tests {
        let bad = failing == 0 || fails(&test.name);
        for at in closure(test, &functions) {
            let count = counts.entry(at).or_default();
            if bad {
                count.0 += 1;
            } else {
                count.1 += 1;
            }
        }
    }
    let all = if failing == 0 { tests.len() } else { failing };
    let mut found: BTreeMap<usize, BTreeMap<usize, f64>> = BTreeMap::new();
    for (at, file, _) in project.sources() {
        let lines = found.entry(at).or_default();
        // Constants and types belong to everybody.
        for line in 1..=file.text.lines().count() {
            lines.insert(line, 0.12);
        }
    }
    for (at, function) in functions.iter().enumerate() {
        if function.test {
            continue;
        }
        let (bad, good) = counts.get(&at).copied().unwrap_or_default();
        let value = if bad == 0 {
            0.03
        } else {
            bad as f64 / ((all * (bad + good)) as f64).sqrt()
        };
        let lines = found.entry(function.file).or_default();
        for line in function.lines.clone() {
            lines.insert(line, value);
        }
    }
    found
}

fn functions(project: &Project) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, file) in project.files.iter().enumerate() {
        let lang = match file.role {
            Role::Source(lang) | Role::Test(Some(lang)) => lang,
            _ => continue,
        };
        let Some(tree) = lang.parse(&file.text) else {
            continue;
        };
        for node in lang::all_nodes(&tree) {
            let test_call = matches!(file.role, Role::Test(_))
                && lang == Lang::JavaScript
                && node.kind() == "call_expression";
            if !lang.is_function(node.kind()) && !test_call {
                continue;
            }
            let name = node.child_by_field_name("name").map_or_else(
                || {
                    crate::facts::arguments(node)
                        .first()
                        .filter(|one| test_call && one.kind() == "string")
                        .map(|one| {
                            text_of(&file.text, *one)
                                .trim_matches(['"', '\''])
                                .to_owned()
                        })
                },
                |name| Some(text_of(&file.text, name).to_owned()),
            );
            let Some(name) = name else { continue };
            let words = lang::below(node)
                .into_iter()
                .filter(|inner| {
                    matches!(
                        inner.kind(),
                        "identifier"
                            | "property_identifier"
                            | "field_identifier"
                            | "type_identifier"
                    )
                })
                .map(|inner| text_of(&file.text, inner).to_owned())
                .filter(|word| *word != name)
                .collect();
            let inside = file
                .protected
                .iter()
                .any(|out| out.contains(&node.start_byte()));
            let rust_test = lang == Lang::Rust
                && crate::project::attributes(&file.text, node)
                    .any(|one| one.contains("test]") || one.contains("should_panic"));
            let test = match lang {
                Lang::Rust => rust_test,
                _ => matches!(file.role, Role::Test(_)) || inside,
            };
            found.push(Function {
                name,
                file: at,
                lines: node.start_position().row + 1..=node.end_position().row + 1,
                words,
                test,
            });
        }
    }
    found
}

/// The numbers of all functions that a test leads to.
fn closure(test: &Function, functions: &[Function]) -> BTreeSet<usize> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, function) in functions.iter().enumerate() {
        if !function.test {
            by_name.entry(&function.name).or_default().push(at);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![test];
    while let Some(function) = open.pop() {
        for word in &function.words {
            for at in by_name.get(word.as_str()).into_iter().flatten() {
                if found.insert(*at)
                    && let Some(next) = functions.get(*at)
                {
                    open.push(next);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_failing_test_reaches_is_more_suspicious_than_what_only_others_reach() {
        let source = "pub fn a() { b() }\nfn b() {}\npub fn c() {}\n";
        let test = "#[test]\nfn bad() { a(); }\n#[test]\nfn good() { c(); }\n";
        let project = Project::new(
            vec![
                ("src/lib.rs".into(), source.into()),
                ("tests/t.rs".into(), test.into()),
            ],
            "",
        );
        let failure = Failure {
            failing: ["bad".to_owned()].into(),
            ..Failure::default()
        };
        let found = &reached(&project, &failure)[&0];
        assert_eq!((found[&1], found[&2]), (1.0, 1.0));
        assert!(found[&3] < 0.1);
    }
}
