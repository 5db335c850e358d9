//! Where the fault may be: how suspicious each line is, from what failing and passing tests ran
//! through, from the places that the output names, and from what the tests call. A number, no
//! verdict.

mod javascript;
mod python;
mod reach;
mod spectrum;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::candidate::Edit;
use crate::failure::Failure;
use crate::lang::{self, Lang};
use crate::project::{Project, Role};

pub use javascript::instrumented;
pub use spectrum::{Spectrum, ochiai, parse};

/// The line's suspicion when nothing is known of its file.
const UNKNOWN: f64 = 0.3;

/// The helpers that are laid beside the copies for one traced run.
pub const HELPERS: [(&str, &str); 2] = [
    ("sitecustomize.py", python::TRACER),
    ("grace-trace.cjs", javascript::TRACER),
];

/// How suspicious each line of each file is, between 0 and about 2.
#[derive(Debug, Clone, Default)]
pub struct Suspicion {
    lines: BTreeMap<usize, BTreeMap<usize, f64>>,
    boost: BTreeMap<(usize, usize), f64>,
    /// Where statements begin, by file and line, for edits inside longer ones.
    begins: BTreeMap<usize, BTreeMap<usize, usize>>,
}

impl Suspicion {
    /// From all that is known. `spectra` may be empty: then what the tests call stands for it.
    #[must_use]
    pub fn new(project: &Project, failure: &Failure, spectra: &[Spectrum]) -> Self {
        let mut out = Self::default();
        let traced: BTreeSet<usize> = spectra
            .iter()
            .flat_map(|one| one.lines.iter().map(|(file, _)| *file))
            .collect();
        let reached = reach::reached(project, failure);
        for (at, file, lang) in project.sources() {
            let seen = traced.iter().any(|one| {
                matches!(project.files.get(*one).map(|f| f.role), Some(Role::Source(other)) if other == lang)
            });
            let lines = if seen {
                ochiai(spectra, at)
            } else {
                reached.get(&at).cloned().unwrap_or_default()
            };
            out.lines.insert(at, lines);
            out.begins.insert(at, begins(lang, &file.text));
        }
        out.frames(project, failure);
        out
    }

    /// Places that the output names count more, the innermost most.
    fn frames(&mut self, project: &Project, failure: &Failure) {
        let own: Vec<_> = failure
            .frames
            .iter()
            .filter(|frame| {
                matches!(
                    project.files.get(frame.file).map(|file| file.role),
                    Some(Role::Source(_))
                )
            })
            .collect();
        for frame in own {
            *self.boost.entry((frame.file, frame.line)).or_insert(0.0) += 0.6;
            for near in [frame.line.saturating_sub(1), frame.line + 1] {
                *self.boost.entry((frame.file, near)).or_insert(0.0) += 0.2;
            }
        }
    }

    /// Of the lines of an edit the most suspicious.
    #[must_use]
    pub fn of(&self, project: &Project, edit: &Edit) -> f64 {
        let Some(file) = project.files.get(edit.file) else {
            return 0.0;
        };
        let first = lang::line_of(&file.text, edit.start);
        let last = lang::line_of(&file.text, edit.end.max(edit.start)).min(first + 6);
        let begin = self
            .begins
            .get(&edit.file)
            .and_then(|begins| begins.get(&first))
            .copied()
            .unwrap_or(first);
        [begin]
            .into_iter()
            .chain(first..=last)
            .map(|line| self.line(edit.file, line))
            .fold(0.0, f64::max)
    }

    /// Of one line, and of the one on which its statement begins.
    #[must_use]
    pub fn line(&self, file: usize, line: usize) -> f64 {
        let one = |line: usize| {
            let base = match self.lines.get(&file) {
                Some(lines) if !lines.is_empty() => lines.get(&line).copied().unwrap_or(0.0),
                _ => UNKNOWN,
            };
            base + self.boost.get(&(file, line)).copied().unwrap_or(0.0)
        };
        let begin = self.begins.get(&file).and_then(|begins| begins.get(&line));
        begin.map_or(0.0, |begin| one(*begin)).max(one(line))
    }
}

/// For every line the line on which its innermost statement begins.
fn begins(lang: Lang, text: &str) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let Some(tree) = lang.parse(text) else {
        return found;
    };
    for node in lang::all_nodes(&tree) {
        if crate::operators::is_statement(lang, node) {
            let first = node.start_position().row + 1;
            for line in first..=node.end_position().row + 1 {
                found.insert(line, first);
            }
        }
    }
    found
}

/// The variables of a traced run: `helpers` is where [`HELPERS`] are, `out` is an empty folder
/// that the run may write to, `root` the copy that it runs in.
#[must_use]
pub fn variables(
    helpers: &Path,
    out: &Path,
    root: &Path,
    project: &Project,
    seconds: f64,
    python_path: Option<&std::ffi::OsStr>,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let tests: Vec<String> = project
        .files
        .iter()
        .filter(|file| matches!(file.role, Role::Test(Some(Lang::Python))))
        .map(|file| file.path.display().to_string())
        .collect();
    let mut path = helpers.as_os_str().to_owned();
    if let Some(more) = python_path {
        path.push(":");
        path.push(more);
    }
    vec![
        ("GRACE_TRACE".into(), out.into()),
        ("GRACE_ROOT".into(), root.into()),
        ("GRACE_TESTS".into(), tests.join(":").into()),
        ("GRACE_SECONDS".into(), format!("{seconds:.2}").into()),
        ("PYTHONPATH".into(), path),
        (
            "NODE_OPTIONS".into(),
            format!("--require {}", helpers.join("grace-trace.cjs").display()).into(),
        ),
    ]
}
