//! Shares of the traffic: integers that sum to [`WHOLE`] whenever one instance can take any.

use std::collections::BTreeMap;

use super::{Fleet, RAMP, Ramp, WHOLE};

/// Divides `whole` in proportion to `shares` by the largest remainder method (Hamilton): each
/// gets the whole part of its quota, what is left goes one by one to the largest remainders,
/// the first of equal ones first. The parts sum to `whole` when a share is above 0; else all
/// parts are 0.
#[must_use]
pub fn split(shares: &[u64], whole: u32) -> Vec<u32> {
    let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
    if sum == 0 {
        return vec![0; shares.len()];
    }
    let mut parts = Vec::with_capacity(shares.len());
    let mut rests = Vec::with_capacity(shares.len());
    let mut given = 0_u32;
    for (place, share) in shares.iter().enumerate() {
        let quota = u128::from(*share) * u128::from(whole);
        let part = u32::try_from(quota / sum).unwrap_or(whole);
        given = given.saturating_add(part);
        parts.push(part);
        rests.push((quota % sum, place));
    }
    rests.sort_by(|one, two| two.0.cmp(&one.0).then(one.1.cmp(&two.1)));
    for (_, place) in rests.iter().take((whole - given.min(whole)) as usize) {
        if let Some(part) = parts.get_mut(*place) {
            *part += 1;
        }
    }
    parts
}

impl Fleet {
    /// Sets the weights anew from who can take requests.
    pub(super) fn weigh(&mut self) {
        let mut routable: Vec<u32> = Vec::with_capacity(self.members.len());
        for (number, member) in &self.members {
            if self.is_routable(member) && !matches!(member.ramp, Ramp::Held { .. }) {
                routable.push(*number);
            }
        }
        if routable.is_empty() {
            // One that did badly is better than none.
            let all = self.members.iter();
            routable.extend(all.filter(|(_, m)| self.is_routable(m)).map(|(n, _)| *n));
        }
        if routable.is_empty() {
            self.weights.clear();
            return;
        }
        let share = |number: &u32| {
            if self.shares.is_empty() {
                1
            } else {
                u64::from(self.shares.get(number).copied().unwrap_or(0))
            }
        };
        let mut shares: Vec<u64> = routable.iter().map(share).collect();
        if shares.iter().all(|share| *share == 0) {
            shares.fill(1);
        }
        let percents: Vec<u64> = routable
            .iter()
            .map(|number| self.percent(*number))
            .collect();
        let parts = ramped(&shares, &percents);
        self.weights.clear();
        self.weights.extend(
            routable
                .into_iter()
                .zip(parts)
                .filter(|(_, part)| *part > 0),
        );
    }

    fn percent(&self, number: u32) -> u64 {
        match self.members.get(&number).map(|member| member.ramp) {
            Some(Ramp::Step { step, .. }) => RAMP.get(step).copied().map_or(100, u64::from),
            _ => 100,
        }
    }

    /// The share of each instance that has one, in 1/10,000; they sum to [`WHOLE`] whenever
    /// one can take requests.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<u32, u32> {
        &self.weights
    }
}

/// Shares of which some get only a percentage; what they do not get goes to those that get all
/// of theirs. With nobody at 100 % the percentages only shift the proportions.
fn ramped(shares: &[u64], percents: &[u64]) -> Vec<u32> {
    let sum: u64 = shares.iter().sum();
    let full: u64 = shares
        .iter()
        .zip(percents)
        .filter(|(_, percent)| **percent >= 100)
        .map(|(share, _)| *share)
        .sum();
    if full == 0 || sum == 0 {
        let scaled: Vec<u64> = shares.iter().zip(percents).map(|(s, p)| s * p).collect();
        return split(&scaled, WHOLE);
    }
    let part = |share: &u64, percent: &u64| {
        u32::try_from(u64::from(WHOLE) * share * percent / (sum * 100)).unwrap_or(WHOLE)
    };
    let ramping = shares.iter().zip(percents).filter(|(_, p)| **p < 100);
    let taken: u32 = ramping.map(|(share, percent)| part(share, percent)).sum();
    let at_full: Vec<u64> = shares
        .iter()
        .zip(percents)
        .map(|(share, percent)| if *percent >= 100 { *share } else { 0 })
        .collect();
    let rest = split(&at_full, WHOLE - taken.min(WHOLE));
    shares
        .iter()
        .zip(percents)
        .zip(rest)
        .map(|((share, percent), rest)| {
            if *percent < 100 {
                part(share, percent)
            } else {
                rest
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_divide_goes_to_the_largest_remainders() {
        assert_eq!(split(&[1, 1, 1], WHOLE), [3_334, 3_333, 3_333]);
        assert_eq!(split(&[2, 3, 2], 10), [3, 4, 3]);
        assert_eq!(split(&[0, 0], WHOLE), [0, 0]);
    }

    #[test]
    fn a_ramping_instance_gets_its_percentage_and_the_others_the_rest() {
        assert_eq!(ramped(&[1, 1], &[10, 100]), [500, 9_500]);
        assert_eq!(
            ramped(&[1, 1, 1, 1], &[50, 100, 100, 100]),
            [1_250, 2_917, 2_917, 2_916]
        );
        assert_eq!(ramped(&[1], &[10]), [10_000]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_whole_and_each_is_within_one_of_its_quota(
            shares in proptest::collection::vec(0_u64..=1_000_000, 1..40),
            whole in 1_u32..=20_000,
        ) {
            let parts = split(&shares, whole);
            let sum: u64 = shares.iter().sum();
            if sum == 0 {
                prop_assert!(parts.iter().all(|part| *part == 0));
            } else {
                prop_assert_eq!(parts.iter().sum::<u32>(), whole);
                for (share, part) in shares.iter().zip(&parts) {
                    let quota = u128::from(*share) * u128::from(whole);
                    let part = u128::from(*part) * u128::from(sum);
                    prop_assert!(part.abs_diff(quota) < u128::from(sum));
                }
            }
        }

        #[test]
        fn ramped_shares_sum_to_the_whole(
            parts in proptest::collection::vec((1_u64..=10_000, 0_usize..4), 1..20),
        ) {
            let shares: Vec<u64> = parts.iter().map(|(share, _)| *share).collect();
            let percents: Vec<u64> =
                parts.iter().map(|(_, step)| u64::from(RAMP[*step])).collect();
            prop_assert_eq!(ramped(&shares, &percents).iter().sum::<u32>(), WHOLE);
        }
    }
}
