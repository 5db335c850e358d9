//! Two edits together, after all singles: those that already helped with all others, then the
//! likeliest with each other.

use crate::candidate::Candidate;

use super::list::order;

/// Of the likeliest singles this many are paired with each other.
const TOP: usize = 70;
/// With those that helped, this many.
const WIDE: usize = 400;

/// The pairs, the best first. `better` are the numbers of singles after which fewer tests failed.
#[must_use]
pub fn pairs(singles: &[Candidate], better: &[usize], seed: u64) -> Vec<Candidate> {
    let mut found = Vec::new();
    let join = |a: &Candidate, b: &Candidate, score: f64| Candidate {
        edits: a.edits.iter().chain(&b.edits).cloned().collect(),
        kind: a.kind,
        score,
    };
    for base in better.iter().filter_map(|at| singles.get(*at)) {
        for other in singles.iter().take(WIDE) {
            if base.apart_from(other) {
                found.push(join(base, other, 10.0 * other.score));
            }
        }
    }
    for (at, one) in singles.iter().take(TOP).enumerate() {
        for other in singles.iter().take(TOP).skip(at + 1) {
            let near = one
                .edits
                .first()
                .zip(other.edits.first())
                .is_some_and(|(a, b)| a.file == b.file && a.start.abs_diff(b.start) < 2_000);
            if near && one.apart_from(other) {
                found.push(join(one, other, one.score * other.score));
            }
        }
    }
    order(found, seed)
}
