//! The lists in `playbooks/README.md` ("What is counted") against the code: a row that works
//! names something that exists and a test, whatever exists has a row, and a list is as long as
//! its heading says. It must not know what the rows mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the headings of the lists begin with, and what their column `here` names.
const LISTS: &[(&str, Option<Kind>)] = &[
    ("Primitives", Some(Kind::Action)),
    ("Playbooks", Some(Kind::Playbook)),
    ("Triggers", Some(Kind::Detector)),
    ("Kernels", Some(Kind::Kernel)),
    ("Chaos waves", None),
    ("Failure cards", None),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Action,
    Playbook,
    Detector,
    Kernel,
}

/// The names that the code has, of each kind.
type Code = BTreeMap<Kind, BTreeSet<String>>;

pub fn check(root: &Path, tests: &BTreeSet<String>, faults: &mut Vec<String>) -> Result<()> {
    let path = root.join("playbooks/README.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    faults.extend(wrong(&text, &code(root)?, tests));
    Ok(())
}

fn wrong(text: &str, code: &Code, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut tell = |line: usize, what: String| {
        faults.push(format!("playbooks/README.md:{line}: {what}"));
    };
    let mut list: Option<(Option<Kind>, String, usize, usize)> = None;
    let mut named: Code = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (number, line) in text.lines().map(Some).chain([None]).enumerate() {
        let number = number + 1;
        if line.is_none_or(|line| line.starts_with('#'))
            && let Some((_, name, wanted, rows)) = list.take()
            && wanted != rows
        {
            tell(
                number,
                format!("the list {name} says {wanted} and has {rows} rows"),
            );
        }
        let Some(line) = line else { break };
        if let Some(heading) = line.strip_prefix("### ")
            && let Some((name, kind)) = LISTS.iter().find(|(name, _)| heading.starts_with(name))
        {
            let wanted = heading
                .rsplit_once('(')
                .and_then(|(_, count)| count.trim_end_matches(')').parse().ok())
                .unwrap_or(0);
            list = Some((*kind, (*name).to_owned(), wanted, 0));
            seen.insert(*name);
        }
        let Some((kind, _, _, rows)) = &mut list else {
            continue;
        };
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [place, what, here, state, proof] = cells.as_slice() else {
            continue;
        };
        if !line.starts_with('|') || *place == "#" || place.starts_with("---") {
            continue;
        }
        if place.parse() == Ok(*rows + 1) {
            *rows += 1;
        } else if !place.is_empty() {
            tell(number, format!("{what}: its number is not {}", *rows + 1));
        }
        let words = |cell: &str| -> Vec<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let exists = kind.and_then(|kind| code.get(&kind));
        for name in words(here) {
            if exists.is_none_or(|exists| !exists.contains(&name)) {
                tell(number, format!("{what}: there is no {name} in the code"));
            }
            if let Some(kind) = *kind {
                named.entry(kind).or_default().insert(name);
            }
        }
        match *state {
            "works" => {
                let proofs = words(proof);
                if proofs.is_empty() || kind.is_some() && words(here).is_empty() {
                    tell(
                        number,
                        format!("{what}: it works by which test, and as what?"),
                    );
                }
                for test in proofs.iter().filter(|test| !tests.contains(*test)) {
                    tell(number, format!("{what}: there is no test {test:?}"));
                }
            }
            "not yet" => {}
            other => tell(
                number,
                format!("{what}: {other:?} is neither works nor not yet"),
            ),
        }
    }
    for (kind, names) in code {
        let rows = named.remove(kind).unwrap_or_default();
        for name in names.difference(&rows) {
            tell(
                1,
                format!("{name} ({kind:?}) is in the code and has no row"),
            );
        }
    }
    for (name, _) in LISTS.iter().filter(|(name, _)| !seen.contains(name)) {
        tell(1, format!("there is no list {name}"));
    }
    faults
}

/// What there is, by the places where each kind is written.
fn code(root: &Path) -> Result<Code> {
    let mut code: Code = BTreeMap::new();
    let mut put = |kind, names: BTreeSet<String>| {
        code.insert(kind, names);
    };
    let mut actions = BTreeSet::new();
    for file in rust_files(&root.join("plugins/actions"))? {
        if !file.ends_with("tests.rs") {
            actions.extend(first_texts(&fs::read_to_string(&file)?, "action("));
        }
    }
    actions.retain(|name| name.contains('.'));
    put(Kind::Action, actions);
    put(Kind::Playbook, entries(&root.join("playbooks"), ".yaml")?);
    put(
        Kind::Detector,
        entries(&root.join("plugins/detectors"), "")?,
    );
    let mut kernels = BTreeSet::new();
    for (file, before) in [
        ("host/healer/src/house.rs", ".kernel("),
        ("host/supervisor/src/tables.rs", " kernel("),
        ("host/proxy/src/stats.rs", " kernel("),
        ("host/grace/cmd/internal/healer.rs", "name: "),
    ] {
        let path = root.join(file);
        let source =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        kernels.extend(first_texts(&source, before));
    }
    put(Kind::Kernel, kernels);
    Ok(code)
}

/// The texts that follow `before` at once.
fn first_texts(source: &str, before: &str) -> BTreeSet<String> {
    source
        .split(before)
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// Names in a directory that end with `end`, without it.
fn entries(dir: &Path, end: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A detector is a folder; leftovers of editors are none.
        if end.is_empty() && !entry.path().join("plugin.toml").is_file() {
            continue;
        }
        names.extend(name.strip_suffix(end).map(str::to_owned));
    }
    Ok(names)
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    super::sources(dir, &mut files)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn code_with(action: &str) -> Code {
        [(Kind::Action, names(&[action]))].into()
    }

    /// All lists, the first with these rows.
    fn text(count: usize, rows: &str) -> String {
        let others: String = LISTS
            .iter()
            .skip(1)
            .map(|(name, _)| format!("### {name} (0)\n"))
            .collect();
        format!(
            "### Primitives ({count})\n| # | what | here | state | test |\n| --- | --- | --- | --- | --- |\n{rows}\n{others}"
        )
    }

    #[test]
    fn a_list_whose_rows_name_what_exists_is_good() {
        let rows = "| 1 | restart | `fleet.restart` | works | `a_test` |\n| 2 | shed | - | not yet | an action |\n";
        let faults = wrong(
            &text(2, rows),
            &code_with("fleet.restart"),
            &names(&["a_test"]),
        );
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn a_row_that_claims_too_much_an_unlisted_action_and_a_wrong_count_are_faults() {
        let known = names(&["a_test"]);
        let faults = |count: usize, rows: &str| {
            wrong(&text(count, rows), &code_with("fleet.restart"), &known)
        };
        let good = "| 1 | restart | `fleet.restart` | works | `a_test` |\n";
        assert!(faults(1, good).is_empty());
        for (from, to) in [
            ("`a_test`", "`b_test`"),
            ("`a_test`", "it does"),
            ("`fleet.restart`", "`fleet.heal`"),
            ("works", "nearly"),
            ("| 1 |", "| 3 |"),
        ] {
            assert!(!faults(1, &good.replace(from, to)).is_empty(), "{to}");
        }
        assert!(!faults(2, good).is_empty());
        assert!(!faults(0, "").is_empty(), "an action without a row");
        assert!(
            !wrong(good, &code_with("fleet.restart"), &known).is_empty(),
            "no lists"
        );
    }

    #[test]
    fn the_lists_of_this_checkout_count_what_there_is() {
        let root = crate::command::root();
        let code = code(&root).unwrap();
        for (kind, least) in [
            (Kind::Action, 10),
            (Kind::Playbook, 10),
            (Kind::Detector, 6),
            (Kind::Kernel, 9),
        ] {
            assert!(code[&kind].len() >= least, "{kind:?}: {:?}", code[&kind]);
        }
    }
}
