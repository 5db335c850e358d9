//! The over-fit court: of all changes that make the command pass, which may be trusted. A change
//! has to do more than the deletion of the code that it touches, must leave alone what worked, on
//! inputs near those of the tests, and must pass tests that the search did not look at.

mod deletion;
mod observe;
mod rewrite;
mod variant;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::candidate::{Candidate, Kind};
use crate::failure::Failure;
use crate::locate::Spectrum;
use crate::report::{Court, HeldOut, Neighbours};
use crate::search::Lab;

use observe::{Seen, Witness};

/// Laid beside the copies for runs that observe.
pub const HELPERS: [(&str, &str); 2] = [
    ("grace_observe/sitecustomize.py", observe::PYTHON),
    ("grace-observe.cjs", observe::JAVASCRIPT),
];

/// How many of the plausible changes come before the court.
const MOST: usize = 8;
/// A change that differs on more than this share of its neighbours, where others differ on fewer,
/// loses.
const PER_DIVERGENCE: f64 = 2.5;
/// The same for inputs on which the program worked and now fails.
const PER_FAILURE: f64 = 5.0;

/// What is judged.
pub struct Case<'a> {
    /// The copies.
    pub lab: &'a Lab,
    /// The candidates.
    pub list: &'a [Candidate],
    /// Those that pass, and which held-out tests they fail.
    pub plausible: &'a [(usize, BTreeSet<String>)],
    /// Tests that the search did not look at.
    pub held: &'a BTreeSet<String>,
    /// When a verdict must be there.
    pub end: Instant,
    /// Ends it.
    pub stop: &'a AtomicBool,
    /// Which inputs are near.
    pub seed: u64,
    /// Where helpers are.
    pub top: &'a Path,
}

/// The verdict.
pub enum Ruling {
    /// For the candidate of this number.
    For(usize, Court),
    /// For none, and why.
    Against(String, Court),
}

/// Tests that the search does not look at: a quarter of those that pass, where there are two or more, and one of four or more
/// that fail, drawn by the seed.
#[must_use]
pub fn held_out(failure: &Failure, spectra: &[Spectrum], seed: u64) -> BTreeSet<String> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x6865_6c64);
    let traced = spectra
        .iter()
        .filter(|one| one.passed)
        .filter_map(|one| one.test.clone())
        .filter(|name| !name.starts_with("line "));
    let mut passing: Vec<String> = failure.passing.iter().cloned().chain(traced).collect();
    passing.sort();
    passing.dedup();
    passing.retain(|name| !failure.failing.contains(name));
    random.shuffle(&mut passing);
    let quarter = if passing.len() < 2 {
        0
    } else {
        passing.len().div_ceil(4)
    };
    let mut failing: Vec<String> = failure.failing.iter().cloned().collect();
    random.shuffle(&mut failing);
    let one = usize::from(failing.len() >= 4);
    passing
        .into_iter()
        .take(quarter)
        .chain(failing.into_iter().take(one))
        .collect()
}

struct Contender<'a> {
    at: usize,
    candidate: &'a Candidate,
    seen: Seen,
    neighbours: Neighbours,
    /// Of the neighbours, those on which it fails and the old one did not.
    broken: u32,
}

/// Judges.
#[must_use]
pub fn hold(case: &Case<'_>) -> Ruling {
    let held_out = |failed: usize| HeldOut {
        run: u32::try_from(case.held.len()).unwrap_or(u32::MAX),
        failed: u32::try_from(failed).unwrap_or(u32::MAX),
    };
    let good: Vec<&(usize, BTreeSet<String>)> = case
        .plausible
        .iter()
        .filter(|(_, failed)| failed.is_empty())
        .collect();
    if good.is_empty() {
        let failed = case.plausible.iter().map(|(_, failed)| failed.len()).min();
        let court = Court {
            held_out: held_out(failed.unwrap_or(0)),
            ..Court::default()
        };
        let why = "every change that the search found fails tests that it had not looked at";
        return Ruling::Against(why.to_owned(), court);
    }
    let witness = Witness::new(case);
    let old = witness.see(case, None);
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (at, _) in good.into_iter().take(MOST) {
        let Some(candidate) = case.list.get(*at) else {
            continue;
        };
        let late = Instant::now() >= case.end || case.stop.load(Ordering::Relaxed);
        if late && !contenders.is_empty() {
            break;
        }
        let seen = witness.see(case, Some(candidate));
        let (neighbours, broken) = observe::compare(&old, &seen);
        contenders.push(Contender {
            at: *at,
            candidate,
            seen,
            neighbours,
            broken,
        });
    }
    while let Some(best) = choose(&contenders) {
        let Some(one) = contenders.get(best) else {
            break;
        };
        let deleted = deletion::beaten(case, &witness, &old, one.candidate, one.neighbours);
        let court = Court {
            deletion_beaten: deleted,
            neighbours: one.neighbours,
            held_out: held_out(0),
        };
        if !confirmed(case, one.candidate) {
            contenders.remove(best);
            continue;
        }
        // Text that could not be read was no feature that a fix could delete.
        let unread = matches!(
            one.candidate.kind,
            Kind::Config | Kind::Syntax | Kind::Compiler
        );
        if deleted || unread {
            return Ruling::For(one.at, court);
        }
        contenders.remove(best);
        if contenders.is_empty() {
            let why = "the only change that passes does no more than deleting the code would, so the tests say too little to trust it";
            return Ruling::Against(why.to_owned(), court);
        }
    }
    let why = "no change passed twice: the command does not always say the same";
    Ruling::Against(why.to_owned(), Court::default())
}

/// By likelihood, by how much is changed that worked, and by how many other changes agree.
fn choose(contenders: &[Contender<'_>]) -> Option<usize> {
    let mut weight: BTreeMap<&Seen, f64> = BTreeMap::new();
    for one in contenders {
        *weight.entry(&one.seen).or_default() += one.candidate.score;
    }
    let value = |one: &Contender<'_>| {
        let run = f64::from(one.neighbours.run.max(1));
        let diverged = f64::from(one.neighbours.diverged) / run;
        let broken = f64::from(one.broken) / run;
        let together = weight.get(&one.seen).copied().unwrap_or(0.0);
        let deletion = if one.candidate.kind == Kind::Delete {
            4.0
        } else {
            0.0
        };
        (together.max(1e-12).ln() + one.candidate.score.max(1e-12).ln()) / 2.0
            - PER_DIVERGENCE * diverged
            - PER_FAILURE * broken
            - deletion
    };
    (0..contenders.len()).max_by(|a, b| {
        let of = |at: usize| contenders.get(at).map_or(f64::MIN, &value);
        // The earlier of two that are equal.
        of(*a).total_cmp(&of(*b)).then_with(|| b.cmp(a))
    })
}

/// Once more, and the old one once more: a command that says now this and now that proves
/// nothing.
fn confirmed(case: &Case<'_>, candidate: &Candidate) -> bool {
    let again = case
        .lab
        .candidate(0, candidate)
        .is_ok_and(|run| run.passed());
    again && case.lab.plain(0).is_ok_and(|run| !run.passed())
}
