//! Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
//! IEEE TSE 28(2), 2002): the smallest sublist from which no single item can be left out. It
//! knows items by their numbers only.

use std::collections::HashSet;

/// Says of lists of numbers whether each still fails; none: ask no more.
pub type Fails<'a> = dyn FnMut(&[Vec<usize>]) -> Option<Vec<bool>> + 'a;

/// A search in progress.
#[derive(Debug)]
pub struct Ddmin {
    best: Vec<usize>,
    width: usize,
    /// Whether the empty list may fail too, so that it is worth a question.
    maybe_none: bool,
    asked: HashSet<Vec<usize>>,
}

/// What is left of `count` items. `fails` says of lists of numbers whether each still fails; the
/// whole list is known to.
pub fn ddmin(count: usize, width: usize, maybe_none: bool, fails: &mut Fails<'_>) -> Vec<usize> {
    let mut work = Ddmin::new(count, width, maybe_none);
    work.run(fails);
    work.best
}

impl Ddmin {
    /// Over `count` items, asking `width` lists at once.
    #[must_use]
    pub fn new(count: usize, width: usize, maybe_none: bool) -> Self {
        Self {
            best: (0..count).collect(),
            width: width.max(1),
            maybe_none,
            asked: HashSet::new(),
        }
    }

    /// The smallest list so far that fails.
    #[must_use]
    pub fn best(&self) -> &[usize] {
        &self.best
    }

    /// Searches to the end; none when `fails` ended it before.
    pub fn run(&mut self, fails: &mut Fails<'_>) -> Option<()> {
        if self.maybe_none && !self.best.is_empty() && self.first(vec![Vec::new()], fails)? {
            return Some(());
        }
        let mut parts = 2;
        while self.best.len() >= 2 {
            let chunks = split(&self.best, parts);
            let others: Vec<Vec<usize>> = (0..chunks.len())
                .map(|without| {
                    let rest = chunks.iter().enumerate().filter(|(at, _)| *at != without);
                    rest.flat_map(|(_, chunk)| chunk).copied().collect()
                })
                .collect();
            if self.first(chunks, fails)? {
                parts = 2;
            } else if parts > 2 && self.first(others, fails)? {
                parts = (parts - 1).max(2);
            } else if parts >= self.best.len() {
                break;
            } else {
                parts = (parts * 2).min(self.best.len());
            }
        }
        Some(())
    }

    /// Takes the first of the lists that fails.
    fn first(&mut self, lists: Vec<Vec<usize>>, fails: &mut Fails<'_>) -> Option<bool> {
        // One that was asked and failed has been taken, so one that was asked did not fail.
        let new: Vec<Vec<usize>> = lists
            .into_iter()
            .filter(|list| list.len() < self.best.len() && !self.asked.contains(list))
            .collect();
        for some in new.chunks(self.width) {
            let answers = fails(some)?;
            self.asked.extend(some.iter().cloned());
            let found = some.iter().zip(&answers).find(|(_, fails)| **fails);
            if let Some((list, _)) = found {
                self.best.clone_from(list);
                return Some(true);
            }
        }
        Some(false)
    }
}

/// `parts` chunks, as even as can be, none empty.
fn split(all: &[usize], parts: usize) -> Vec<Vec<usize>> {
    let parts = parts.clamp(1, all.len().max(1));
    let mut rest = all;
    let mut chunks = Vec::with_capacity(parts);
    for left in (1..=parts).rev() {
        let (chunk, after) = rest.split_at(rest.len().div_ceil(left).min(rest.len()));
        if !chunk.is_empty() {
            chunks.push(chunk.to_vec());
        }
        rest = after;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(count: usize, width: usize, needed: &[usize]) -> (Vec<usize>, usize) {
        let mut runs = 0;
        let left = ddmin(count, width, true, &mut |lists| {
            runs += lists.len();
            let answer = |list: &Vec<usize>| needed.iter().all(|one| list.contains(one));
            Some(lists.iter().map(answer).collect())
        });
        (left, runs)
    }

    #[test]
    fn one_culprit_of_two_hundred_is_found_in_fewer_questions_than_the_published_case() {
        for culprit in [0, 1, 99, 100, 199] {
            let (left, runs) = run(200, 1, &[culprit]);
            assert_eq!(left, [culprit]);
            assert!(runs < 139, "{runs} questions for {culprit}");
        }
    }

    #[test]
    fn what_nobody_needs_leaves_nothing() {
        assert_eq!(run(17, 2, &[]), (Vec::new(), 1));
        assert_eq!(run(0, 2, &[]), (Vec::new(), 0));
    }

    #[test]
    fn a_search_that_is_ended_keeps_the_smallest_list_that_failed() {
        let mut asked = 0;
        let mut work = Ddmin::new(64, 1, false);
        let done = work.run(&mut |lists| {
            asked += 1;
            (asked <= 3).then(|| lists.iter().map(|list| list.contains(&5)).collect())
        });
        assert_eq!(done, None);
        assert!(work.best().contains(&5) && work.best().len() < 64);
    }

    proptest! {
        #[test]
        fn nothing_more_can_be_left_out_and_the_width_changes_nothing(
            count in 1_usize..60,
            needed in proptest::collection::btree_set(0_usize..60, 0..5),
            width in 1_usize..5,
        ) {
            let needed: Vec<usize> = needed.into_iter().filter(|one| *one < count).collect();
            let (left, _) = run(count, width, &needed);
            prop_assert_eq!(&left, &needed);
            prop_assert_eq!(left, run(count, 1, &needed).0);
        }
    }
}
