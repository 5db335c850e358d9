//! The share of its weight that a returning instance gets: a tenth at first, then more in steps,
//! and back to the first step when it fails or is slow again. Pure: it is told what happened and
//! when, and says the share.

use std::time::{Duration, Instant};

/// Shares in percent. The last is not a step but the end.
const STEPS: [u8; 3] = [10, 25, 50];
/// The whole of its weight.
pub(crate) const WHOLE: u8 = 100;
/// A step lasts up to so many times longer when the ramp was set back.
const LONGER_MAX: u32 = 8;
/// So many times slower than its siblings is slow.
const SLOW: u64 = 3;
/// Below this no instance is called slow, in microseconds: the difference is the machine's.
const SLOW_LEAST: u64 = 5_000;
/// So many requests in a window say something about latency.
const ENOUGH: u64 = 5;

/// One instance on its way back.
#[derive(Debug)]
pub(crate) struct Ramp {
    step: usize,
    since: Instant,
    /// Failures counted when the step began.
    failures: u32,
    longer: u32,
}

/// The traffic of one instance in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) requests: u64,
    pub(crate) p50_us: u64,
}

/// What comes of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It stays where it is.
    Stay,
    /// A larger share.
    Up,
    /// The first share again.
    Back,
    /// Its whole share; the ramp is over.
    Done,
}

impl Ramp {
    pub(crate) fn begin(now: Instant, failures: u32) -> Self {
        Self {
            step: 0,
            since: now,
            failures,
            longer: 1,
        }
    }

    /// The share now, in percent.
    pub(crate) fn percent(&self) -> u8 {
        STEPS.get(self.step).copied().unwrap_or(WHOLE)
    }

    /// Looks at the instance, which has failed so often since it is known.
    pub(crate) fn look(&mut self, now: Instant, each: Duration, failures: u32) -> Turn {
        if failures != self.failures {
            self.failures = failures;
            return self.set_back(now);
        }
        let due = each.saturating_mul(self.longer);
        if now.saturating_duration_since(self.since) < due {
            return Turn::Stay;
        }
        self.since = now;
        self.step += 1;
        if self.step < STEPS.len() {
            Turn::Up
        } else {
            Turn::Done
        }
    }

    /// Begins anew, and more slowly.
    pub(crate) fn set_back(&mut self, now: Instant) -> Turn {
        self.step = 0;
        self.since = now;
        self.longer = self.longer.saturating_mul(2).min(LONGER_MAX);
        Turn::Back
    }
}

/// Whether an instance is much slower than the one in the middle of its siblings.
pub(crate) fn is_slow(own: Pace, siblings: &[Pace]) -> bool {
    let mut times: Vec<u64> = siblings
        .iter()
        .filter(|it| it.requests >= ENOUGH)
        .map(|it| it.p50_us)
        .collect();
    times.sort_unstable();
    let Some(middle) = times.get(times.len() / 2) else {
        return false;
    };
    own.requests >= ENOUGH && own.p50_us > SLOW_LEAST && own.p50_us > middle.saturating_mul(SLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(1);

    #[test]
    fn a_returning_instance_gets_ten_twentyfive_fifty_and_all_of_its_share() {
        let zero = Instant::now();
        let mut ramp = Ramp::begin(zero, 7);
        let at = |ms: u64| zero + Duration::from_millis(ms);
        assert_eq!(ramp.percent(), 10);
        assert_eq!(ramp.look(at(999), EACH, 7), Turn::Stay);
        assert_eq!(ramp.look(at(1_000), EACH, 7), Turn::Up);
        assert_eq!(ramp.percent(), 25);
        assert_eq!(ramp.look(at(2_000), EACH, 7), Turn::Up);
        assert_eq!(ramp.percent(), 50);
        assert_eq!(ramp.look(at(2_999), EACH, 7), Turn::Stay);
        assert_eq!(ramp.look(at(3_000), EACH, 7), Turn::Done);
        assert_eq!(ramp.percent(), WHOLE);
    }

    #[test]
    fn a_failure_sets_it_back_and_makes_it_slower() {
        let zero = Instant::now();
        let mut ramp = Ramp::begin(zero, 0);
        let at = |s: u64| zero + Duration::from_secs(s);
        ramp.look(at(1), EACH, 0);
        ramp.look(at(2), EACH, 0);
        assert_eq!(ramp.look(at(2), EACH, 1), Turn::Back);
        assert_eq!(ramp.percent(), 10);
        assert_eq!(ramp.look(at(3), EACH, 1), Turn::Stay, "two seconds now");
        assert_eq!(ramp.look(at(4), EACH, 1), Turn::Up);
        for failures in 2..20 {
            ramp.look(at(4), EACH, failures);
        }
        assert_eq!(ramp.look(at(11), EACH, 19), Turn::Stay);
        assert_eq!(ramp.look(at(12), EACH, 19), Turn::Up, "eight at most");
    }

    #[test]
    fn slow_is_much_slower_than_the_one_in_the_middle() {
        let pace = |requests, p50_us| Pace { requests, p50_us };
        let siblings = [pace(100, 2_000), pace(100, 3_000), pace(2, 1)];
        assert!(is_slow(pace(10, 9_001), &siblings));
        assert!(!is_slow(pace(10, 9_000), &siblings));
        assert!(!is_slow(pace(4, 90_000), &siblings), "too few to say");
        assert!(!is_slow(pace(10, 90_000), &[]), "nobody to compare with");
        let quick = [pace(100, 100)];
        assert!(!is_slow(pace(10, 4_000), &quick), "nobody notices");
    }
}
