//! When the next supervisor is started: at once, unless the one before died right after its
//! start. Knows no processes; times come from outside.

use std::time::{Duration, Instant};

/// A supervisor that dies sooner than this after its start makes the next one wait.
const SOON: Duration = Duration::from_secs(1);

/// The first and the longest wait after such a death; each is twice the one before.
const WAIT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The first wait after a start that did not succeed at all.
const FAILED: Duration = Duration::from_millis(50);

/// The pace of starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    wait: Duration,
    next: Instant,
}

impl Pace {
    /// The first start is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            wait: Duration::ZERO,
            next: now,
        }
    }

    /// A supervisor that was started at `since` is dead.
    pub(super) fn died(&mut self, since: Instant, now: Instant) {
        self.wait = if now.saturating_duration_since(since) < SOON {
            self.longer(WAIT.0)
        } else {
            Duration::ZERO
        };
        self.next = now + self.wait;
    }

    /// None could be started.
    pub(super) fn failed(&mut self, now: Instant) {
        self.wait = self.longer(FAILED);
        self.next = now + self.wait;
    }

    /// How long until the next start; zero: it is due.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    fn longer(&self, least: Duration) -> Duration {
        self.wait.saturating_mul(2).clamp(least, WAIT.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_ran_is_followed_at_once_and_one_that_dies_at_its_start_ever_later() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        assert_eq!(pace.left(begin), Duration::ZERO);
        let hour = begin + Duration::from_secs(3_600);
        pace.died(begin, hour);
        assert_eq!(pace.left(hour), Duration::ZERO);
        let mut waits = Vec::new();
        let mut now = hour;
        for _ in 0..9 {
            pace.died(now, now);
            waits.push(pace.left(now).as_millis());
            now += pace.left(now);
            assert_eq!(pace.left(now), Duration::ZERO);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        // One that ran for a while makes up for those.
        pace.died(now, now + SOON);
        assert_eq!(pace.left(now + SOON), Duration::ZERO);
        pace.failed(now);
        assert_eq!(pace.left(now), FAILED);
    }
}
