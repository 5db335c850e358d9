//! Old and new on inputs near those of the tests: the tests are made to tell, a value of each is
//! varied, and what they tell is compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Deserialize;

use super::rewrite::{telling, tests};
use super::{Case, variant};
use crate::candidate::{Candidate, Edit, apply};
use crate::lang::{self, Lang};
use crate::project::Role;
use crate::report::Neighbours;

/// Laid on `PYTHONPATH`.
pub const PYTHON: &str = r#"
import builtins, json, os, re

class _Observe:
    def __init__(self):
        self.path = os.environ.get("GRACE_SEEN")
        self.test = None

    def write(self, kind, value=None):
        if self.path and self.test is not None:
            with open(self.path, "a") as file:
                file.write(json.dumps({"t": self.test, "k": kind, "v": value}) + "\n")

    def begin(self, name):
        self.test = name
        self.write("begin")

    def end(self, name):
        self.write("end")
        self.test = None

    def see(self, f):
        try:
            value = f()
        except Exception as error:
            self.write("raised", type(error).__name__)
            return
        self.write("value", re.sub(r"0x[0-9a-f]+", "", repr(value))[:2000])

    def raises(self):
        return _Raises(self)

class _Raises:
    def __init__(self, observe):
        self.observe = observe
        self.exception = None
        self.value = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.exception = self.value = value
        self.observe.write("value", "raises %s" % (kind.__name__ if kind else None))
        return kind is None or issubclass(kind, Exception)

builtins._grace_o = _Observe()
"#;

/// Loaded by node before all else.
pub const JAVASCRIPT: &str = r#"
'use strict';
const fs = require('fs');
const util = require('util');
const path = process.env.GRACE_SEEN;
let test = null;
const write = (k, v) => {
  if (path && test !== null) {
    try { fs.appendFileSync(path, JSON.stringify({ t: test, k, v }) + '\n'); } catch {}
  }
};
const shown = (value) => util.inspect(value, { depth: 6, breakLength: Infinity }).slice(0, 2000);
globalThis._grace_o = {
  begin(name) { test = name; write('begin'); },
  end() { write('end'); test = null; },
  value(value) { write('value', shown(value)); },
  see(f) { try { write('value', shown(f())); } catch (error) { write('raised', error && error.name); } },
  throws(f) { try { f(); write('value', 'raises none'); } catch (error) { write('value', 'raises ' + (error && error.name)); } },
  async rejects(p) { try { await (typeof p === 'function' ? p() : p); write('value', 'raises none'); } catch (error) { write('value', 'raises ' + (error && error.name)); } },
};
"#;

/// At the head of each Rust file with tests.
const RUST: &str = r#"#[allow(unused_macros)] macro_rules! __grace_mark { ($t:expr, $k:expr) => {{ if let Ok(p) = std::env::var("GRACE_SEEN") { if let Ok(mut f) = std::fs::OpenOptions::new().create(true).append(true).open(p) { let _ = std::io::Write::write_all(&mut f, format!("{{\"t\":{:?},\"k\":{:?},\"v\":null}}\n", $t, $k).as_bytes()); } } }}; } #[allow(unused_macros)] macro_rules! __grace_see { ($t:expr, $v:expr) => {{ let said = format!("{:?}", &$v); let said: String = said.chars().filter(|c| !matches!(c, '\\' | '"' | '\n')).take(2000).collect(); if let Ok(p) = std::env::var("GRACE_SEEN") { if let Ok(mut f) = std::fs::OpenOptions::new().create(true).append(true).open(p) { let _ = std::io::Write::write_all(&mut f, format!("{{\"t\":{:?},\"k\":\"value\",\"v\":\"{}\"}}\n", $t, said).as_bytes()); } } }}; } "#;

/// What a program told: per variant and test.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    told: BTreeMap<(usize, String), Told>,
}

/// What one test told.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    values: Vec<String>,
    failed: bool,
    ended: bool,
}

impl Told {
    fn well(&self) -> bool {
        self.ended && !self.failed
    }
}

#[derive(Deserialize)]
struct Line {
    t: String,
    k: String,
    v: Option<String>,
}

/// How many variants of each test are told, with and without a compiler in between.
const VARIANTS: usize = 10;
const VARIANTS_COMPILED: usize = 3;

/// The tests that tell, in their variants: the same for old and new.
pub struct Witness {
    /// For each variant the edits of test files and of tests inside of sources.
    variants: Vec<Vec<Edit>>,
    count: AtomicU64,
}

impl Witness {
    /// Draws the variants.
    #[must_use]
    pub fn new(case: &Case<'_>) -> Self {
        let project = &case.lab.project;
        let mut random = fastrand::Rng::with_seed(case.seed ^ 0x6e65_6172);
        let compiled = project.sources().any(|(_, _, lang)| lang == Lang::Rust);
        let count = if compiled {
            VARIANTS_COMPILED
        } else {
            VARIANTS
        };
        let mut variants = Vec::new();
        for _ in 0..count {
            let mut edits = Vec::new();
            let mut varied = false;
            for (at, file) in project.files.iter().enumerate() {
                let lang = match file.role {
                    Role::Test(Some(lang)) => lang,
                    Role::Source(lang) if !file.protected.is_empty() => lang,
                    _ => continue,
                };
                let Some(tree) = lang.parse(&file.text) else {
                    continue;
                };
                let all = tests(lang, &file.text, tree.root_node());
                if all.is_empty() {
                    continue;
                }
                if lang == Lang::Rust {
                    let start = after_inner_attributes(&file.text);
                    edits.push(Edit::new(at, start..start, RUST));
                }
                for (name, test) in all {
                    let telling = telling(at, lang, &file.text, &name, test);
                    let near = variant::near(at, lang, &file.text, test.node, &mut random);
                    edits.extend(woven(&file.text, telling, near, &mut varied));
                }
            }
            if varied {
                variants.push(edits);
            }
        }
        Self {
            variants,
            count: AtomicU64::new(0),
        }
    }

    /// What the program tells with a candidate, or as it is.
    #[must_use]
    pub fn see(&self, case: &Case<'_>, candidate: Option<&Candidate>) -> Seen {
        let mut seen = Seen::default();
        let next = AtomicU64::new(0);
        let all: std::sync::Mutex<Vec<(usize, String)>> = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for slot in 0..case.lab.width() {
                let (next, all) = (&next, &all);
                scope.spawn(move || {
                    loop {
                        let at = usize::try_from(next.fetch_add(1, Ordering::SeqCst))
                            .unwrap_or(usize::MAX);
                        let late = Instant::now() >= case.end || case.stop.load(Ordering::Relaxed);
                        let Some(edits) = self.variants.get(at).filter(|_| !late) else {
                            break;
                        };
                        let text = self.one(case, slot, edits, candidate);
                        let mut all = all
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner);
                        all.push((at, text));
                    }
                });
            }
        });
        for (at, text) in all.into_inner().unwrap_or_default() {
            for line in text
                .lines()
                .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            {
                let told = seen.told.entry((at, line.t)).or_default();
                match line.k.as_str() {
                    "end" => told.ended = true,
                    "raised" => {
                        told.failed = true;
                        told.values
                            .push(format!("raised {}", line.v.unwrap_or_default()));
                    }
                    "value" => told.values.push(line.v.unwrap_or_default()),
                    _ => {}
                }
            }
        }
        seen
    }

    fn one(
        &self,
        case: &Case<'_>,
        slot: usize,
        edits: &[Edit],
        candidate: Option<&Candidate>,
    ) -> String {
        let project = &case.lab.project;
        let mut files: Vec<(PathBuf, Arc<str>)> = Vec::new();
        let theirs = candidate
            .map(|one| one.edits.as_slice())
            .unwrap_or_default();
        let mut numbers: Vec<usize> = edits.iter().chain(theirs).map(|edit| edit.file).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for at in numbers {
            if let Some(file) = project.files.get(at) {
                let all = theirs.iter().chain(edits).filter(|edit| edit.file == at);
                files.push((file.path.clone(), apply(&file.text, all).into()));
            }
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let out = case.top.join("out").join(format!("seen-{number}"));
        if fs::create_dir_all(&out).is_err() {
            return String::new();
        }
        let helpers = case.top.join("helpers");
        let file = out.join("seen.jsonl");
        let more = |_: &std::path::Path| -> Vec<(OsString, OsString)> {
            vec![
                ("GRACE_SEEN".into(), file.clone().into()),
                ("PYTHONPATH".into(), helpers.join("grace_observe").into()),
                (
                    "NODE_OPTIONS".into(),
                    format!("--require {}", helpers.join("grace-observe.cjs").display()).into(),
                ),
            ]
        };
        let _ = case
            .lab
            .run(slot, &files, &more, std::slice::from_ref(&out));
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_dir_all(&out);
        text
    }
}

/// The edits of a test that tells, with a value of it varied: where the value stands in an
/// assertion, inside of the assertion's record.
fn woven(text: &str, mut telling: Vec<Edit>, near: Option<Edit>, varied: &mut bool) -> Vec<Edit> {
    let Some(near) = near else { return telling };
    let outer = telling
        .iter_mut()
        .find(|edit| edit.start <= near.start && near.end <= edit.end && edit.start < edit.end);
    match outer {
        None => {
            telling.push(near);
            *varied = true;
        }
        Some(outer) => {
            // The assertion's own text, once with the value varied, gives the place in the record:
            // the first time that it stands there as it stood.
            let old = lang::cut(text, near.range());
            let before = lang::cut(text, outer.start..near.start);
            let skip = before.matches(old).count();
            if let Some((at, _)) = outer
                .text
                .match_indices(old)
                .nth(skip)
                .or(outer.text.match_indices(old).next())
            {
                outer.text.replace_range(at..at + old.len(), &near.text);
                *varied = true;
            }
        }
    }
    telling
}

/// Where items may stand: behind `//!` and `#![...]`.
fn after_inner_attributes(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let said = line.trim();
        if said.starts_with("//!") || said.starts_with("#![") || said.is_empty() {
            at += line.len();
        } else {
            break;
        }
    }
    at
}

/// On how many neighbours the old one did not fail, on how many of these the new one differs, and
/// on how many it fails.
#[must_use]
pub fn compare(old: &Seen, new: &Seen) -> (Neighbours, u32) {
    let mut neighbours = Neighbours::default();
    let mut broken = 0;
    for (key, told) in old.told.iter().filter(|(_, told)| told.well()) {
        neighbours.run += 1;
        let theirs = new.told.get(key);
        if theirs != Some(told) {
            neighbours.diverged += 1;
        }
        if !theirs.is_some_and(Told::well) {
            broken += 1;
        }
    }
    (neighbours, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[(&str, &str, bool)]) -> Seen {
        let told = values.iter().map(|(test, value, failed)| {
            let told = Told {
                values: vec![(*value).to_owned()],
                failed: *failed,
                ended: true,
            };
            ((0, (*test).to_owned()), told)
        });
        Seen {
            told: told.collect(),
        }
    }

    #[test]
    fn neighbours_count_where_the_old_one_did_not_fail() {
        let old = seen(&[("a", "1", false), ("b", "2", false), ("c", "3", true)]);
        let new = seen(&[("a", "1", false), ("b", "9", true), ("c", "4", false)]);
        let (neighbours, broken) = compare(&old, &new);
        assert_eq!(
            neighbours,
            Neighbours {
                run: 2,
                diverged: 1
            }
        );
        assert_eq!(broken, 1);
    }

    #[test]
    fn macros_stand_behind_what_must_come_first() {
        let text = "//! A crate.\n#![allow(dead_code)]\n\nuse a::b;\n";
        assert_eq!(&text[after_inner_attributes(text)..], "use a::b;\n");
    }
}
