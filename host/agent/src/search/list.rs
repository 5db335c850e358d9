//! The order in which candidates are run: the operator's share times the place's suspicion, and
//! among equals by the seed.

use crate::candidate::Candidate;
use crate::locate::Suspicion;
use crate::project::Project;

/// Below this a place is as good as never run.
pub const LEAST: f64 = 0.02;

/// Candidates with their scores, the best first; those in places that nothing leads to are gone.
#[must_use]
pub fn ranked(
    project: &Project,
    suspicion: &Suspicion,
    mut candidates: Vec<Candidate>,
    seed: u64,
) -> Vec<Candidate> {
    for candidate in &mut candidates {
        let place = candidate
            .edits
            .iter()
            .map(|edit| suspicion.of(project, edit))
            .fold(0.0, f64::max);
        candidate.score *= if place < LEAST { 0.0 } else { place * place };
    }
    candidates.retain(|one| one.score > 0.0);
    order(candidates, seed)
}

/// By score, and among equals by the seed; the same list for the same seed.
#[must_use]
pub fn order(candidates: Vec<Candidate>, seed: u64) -> Vec<Candidate> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut keyed: Vec<(u64, Candidate)> = candidates
        .into_iter()
        .map(|one| (random.u64(..), one))
        .collect();
    keyed.sort_by(|(a, x), (b, y)| y.score.total_cmp(&x.score).then_with(|| a.cmp(b)));
    keyed.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{Edit, Kind};

    #[test]
    fn the_same_seed_and_another_order_the_candidates() {
        let all: Vec<Candidate> = (0..50)
            .map(|at| Candidate::one(Kind::Name, 1.0, Edit::new(0, at..at, "x")))
            .collect();
        let of = |seed| -> Vec<usize> {
            order(all.clone(), seed)
                .iter()
                .flat_map(|one| one.edits.iter().map(|edit| edit.start))
                .collect()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
