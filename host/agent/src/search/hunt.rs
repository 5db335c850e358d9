//! Candidates run in parallel and decided in their order.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::candidate::Candidate;
use crate::failure::Failure;
use crate::lang::{self, Lang};
use crate::project::Role;
use crate::workspace::Status;

use super::{Lab, LabError};

/// What a hunt goes by.
pub struct Hunt<'a> {
    /// Where it runs.
    pub lab: &'a Lab,
    /// Tests that it does not look at.
    pub held: &'a BTreeSet<String>,
    /// Tests that failed before.
    pub failing: &'a BTreeSet<String>,
    /// When it ends.
    pub deadline: Instant,
    /// Ends it.
    pub stop: &'a AtomicBool,
    /// After the first candidate that passes, at least and at most this many more are run, as long
    /// as they are not much less likely: they compete.
    pub more: (usize, usize),
}

/// What a hunt found.
#[derive(Debug, Default)]
pub struct Found {
    /// Candidates that pass all tests that the hunt looks at, by number; and of the tests that it
    /// does not look at, those that failed.
    pub plausible: Vec<(usize, BTreeSet<String>)>,
    /// Candidates after which fewer tests failed and no others.
    pub better: Vec<usize>,
    /// The first run that could not be made.
    pub problem: Option<LabError>,
}

impl Hunt<'_> {
    /// Runs a list. Nothing of it depends on which run ends first, unless the time ends.
    #[must_use]
    pub fn run(&self, list: &[Candidate]) -> Found {
        let next = AtomicUsize::new(0);
        let limit = AtomicUsize::new(list.len());
        let seen: Mutex<HashSet<u64>> = Mutex::new(HashSet::new());
        let results: Mutex<BTreeMap<usize, Verdict>> = Mutex::new(BTreeMap::new());
        let problem = Mutex::new(None);
        std::thread::scope(|scope| {
            for slot in 0..self.lab.width() {
                let (next, limit, seen, results, problem) =
                    (&next, &limit, &seen, &results, &problem);
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::SeqCst);
                        let over = Instant::now() >= self.deadline
                            || self.stop.load(Ordering::Relaxed)
                            || at >= limit.load(Ordering::SeqCst);
                        let Some(candidate) = list.get(at).filter(|_| !over) else {
                            break;
                        };
                        if !self.worth_it(candidate, seen) {
                            continue;
                        }
                        match self.judge(slot, candidate) {
                            Ok(verdict) => {
                                if matches!(verdict, Verdict::Plausible(_)) {
                                    let end = at + 1 + self.competitors(list, at);
                                    limit.fetch_min(end, Ordering::SeqCst);
                                }
                                let mut all =
                                    results.lock().unwrap_or_else(PoisonError::into_inner);
                                all.insert(at, verdict);
                            }
                            Err(error) => {
                                let mut first =
                                    problem.lock().unwrap_or_else(PoisonError::into_inner);
                                first.get_or_insert(error);
                                break;
                            }
                        }
                    }
                });
            }
        });
        let limit = limit.into_inner();
        let mut found = Found {
            problem: problem.into_inner().unwrap_or_else(PoisonError::into_inner),
            ..Found::default()
        };
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (at, verdict) in results.into_iter().filter(|(at, _)| *at < limit) {
            match verdict {
                Verdict::Plausible(held) => found.plausible.push((at, held)),
                Verdict::Better => found.better.push(at),
                Verdict::No => {}
            }
        }
        found
    }

    /// How many after a passing one are still run.
    fn competitors(&self, list: &[Candidate], first: usize) -> usize {
        let least = list.get(first).map_or(0.0, |one| one.score * 0.2);
        let near = list
            .iter()
            .skip(first + 1)
            .take_while(|one| one.score >= least)
            .count();
        near.clamp(self.more.0, self.more.1)
    }

    /// Early rejection: what does not parse, changes nothing, or was run already.
    fn worth_it(&self, candidate: &Candidate, seen: &Mutex<HashSet<u64>>) -> bool {
        let project = &self.lab.project;
        let mut hash = std::hash::DefaultHasher::new();
        for (at, text) in candidate.changed(project) {
            let Some(file) = project.files.get(at) else {
                return false;
            };
            if *text == *file.text {
                return false;
            }
            if let Role::Source(lang) = file.role
                && worse(lang, &file.text, &text)
            {
                return false;
            }
            std::hash::Hash::hash(&(at, &*text), &mut hash);
        }
        let hash = std::hash::Hasher::finish(&hash);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(hash)
    }

    fn judge(&self, slot: usize, candidate: &Candidate) -> Result<Verdict, LabError> {
        let run = self.lab.candidate(slot, candidate)?;
        if run.passed() {
            return Ok(Verdict::Plausible(BTreeSet::new()));
        }
        if matches!(run.status, Status::TimedOut | Status::Stopped) {
            return Ok(Verdict::No);
        }
        let failure = Failure::read(&run, &self.lab.project);
        let failing = failure.failing;
        if failing.is_empty() {
            return Ok(Verdict::No);
        }
        if failing.is_subset(self.held) {
            return Ok(Verdict::Plausible(failing));
        }
        if failing.len() < self.failing.len() && failing.is_subset(self.failing) {
            return Ok(Verdict::Better);
        }
        Ok(Verdict::No)
    }
}

enum Verdict {
    Plausible(BTreeSet<String>),
    Better,
    No,
}

fn worse(lang: Lang, old: &str, new: &str) -> bool {
    let errors = lang::errors(lang, new);
    errors > 0 && errors > lang::errors(lang, old)
}
