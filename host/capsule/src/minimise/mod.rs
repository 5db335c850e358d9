//! Making a capsule smaller while it still fails: first the requests, then what is in each. Pure:
//! whether a smaller one fails is asked of an oracle, many at once, so that copies can run beside
//! each other.

mod ddmin;
mod json;
mod request;

pub use ddmin::{Ddmin, Fails, ddmin};

use crate::capsule::Request;

/// Who knows whether requests still bring the failure about.
pub trait Oracle {
    /// For each list whether it does; none: ask no more. As many as [`Self::width`] are asked at
    /// once, and the first that fails is taken, so that the result does not depend on timing.
    fn fails(&mut self, candidates: &[Vec<Request>]) -> Option<Vec<bool>>;

    /// How many lists are asked at once; at least 1.
    fn width(&self) -> usize;
}

/// The smaller requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// What is left, oldest first.
    pub requests: Vec<Request>,
    /// Whether nothing more can be left out one by one; else the oracle ended it.
    pub complete: bool,
}

/// Makes `requests`, which fail, as small as they still fail. Never gives a list of which the
/// oracle did not say that it fails, but `requests` itself.
pub fn minimise(requests: &[Request], oracle: &mut dyn Oracle) -> Shrunk {
    let mut best = requests.to_vec();
    let complete = shrink(&mut best, oracle).is_some();
    Shrunk {
        requests: best,
        complete,
    }
}

fn shrink(best: &mut Vec<Request>, oracle: &mut dyn Oracle) -> Option<()> {
    let suspects: Vec<Request> = best.iter().filter(|it| it.suspect).cloned().collect();
    if !suspects.is_empty() && suspects.len() < best.len() {
        // What was in flight is nearly always enough.
        let answer = oracle.fails(std::slice::from_ref(&suspects))?;
        if answer.first() == Some(&true) {
            *best = suspects;
        }
    }
    let list = best.clone();
    let width = oracle.width();
    let mut work = Ddmin::new(list.len(), width, false);
    let done = work.run(&mut |candidates| {
        let lists: Vec<Vec<Request>> = candidates.iter().map(|it| pick(&list, it)).collect();
        oracle.fails(&lists)
    });
    *best = pick(&list, work.best());
    done?;
    for at in 0..best.len() {
        request::shrink(best, at, oracle)?;
    }
    Some(())
}

fn pick<T: Clone>(all: &[T], which: &[usize]) -> Vec<T> {
    which
        .iter()
        .filter_map(|at| all.get(*at))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
