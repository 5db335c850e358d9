//! Whether bytes move: how long one end of a connection has kept the other waiting. Time counts
//! only while somebody waits, so that neither end is charged for the other's slowness. It knows
//! numbers and the monotonic clock, no socket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One direction of a connection. Written by one thread; atomic because hyper wants sockets
/// that may change threads.
#[derive(Debug)]
pub(crate) struct Flow {
    base: Instant,
    /// Microseconds from `base` plus one since when somebody waits; 0 for nobody.
    since: AtomicU64,
    /// Microseconds waited before that, since the last time it was good.
    waited: AtomicU64,
    /// Bytes that came in that time.
    moved: AtomicU64,
}

/// How much must move in which time; a time of 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) limit: Duration,
    pub(crate) bytes: u64,
}

impl Pace {
    pub(crate) fn new(limit_ms: u64, bytes: u64) -> Self {
        Self {
            limit: Duration::from_millis(limit_ms),
            bytes: bytes.max(1),
        }
    }
}

impl Flow {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            base: now,
            since: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.base);
        u64::try_from(since.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// Somebody waits for bytes to move.
    pub(crate) fn wait(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.wait_from(Instant::now());
        }
    }

    fn wait_from(&self, now: Instant) {
        self.since.store(self.micros(now), Ordering::Relaxed);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.since.load(Ordering::Relaxed) != 0
    }

    /// So many bytes moved. Costs nothing as long as nobody had to wait.
    pub(crate) fn add(&self, bytes: usize) {
        if self.is_waiting() || self.waited.load(Ordering::Relaxed) != 0 {
            self.add_at(bytes, Instant::now());
        }
    }

    fn add_at(&self, bytes: usize, now: Instant) {
        let since = self.since.swap(0, Ordering::Relaxed);
        if since != 0 {
            let more = self.micros(now).saturating_sub(since);
            let waited = self.waited.load(Ordering::Relaxed).saturating_add(more);
            // At least one, so that the bytes that follow are counted too.
            self.waited.store(waited.max(1), Ordering::Relaxed);
        }
        let moved = self.moved.load(Ordering::Relaxed);
        self.moved
            .store(moved.saturating_add(bytes as u64), Ordering::Relaxed);
    }

    /// Everything that was to move has moved.
    pub(crate) fn rest(&self) {
        if self.is_waiting() || self.waited.load(Ordering::Relaxed) != 0 {
            self.since.store(0, Ordering::Relaxed);
            self.clear();
        }
    }

    fn clear(&self) {
        self.waited.store(0, Ordering::Relaxed);
        self.moved.store(0, Ordering::Relaxed);
    }

    /// Whether too little has moved in the time waited. Enough of it begins the count anew.
    pub(crate) fn is_stuck(&self, pace: Pace, now: Instant) -> bool {
        if pace.limit.is_zero() {
            return false;
        }
        let limit = u64::try_from(pace.limit.as_micros()).unwrap_or(u64::MAX);
        let since = self.since.load(Ordering::Relaxed);
        let running = if since == 0 {
            0
        } else {
            self.micros(now).saturating_sub(since)
        };
        if self.waited.load(Ordering::Relaxed).saturating_add(running) < limit {
            return false;
        }
        if self.moved.load(Ordering::Relaxed) < pace.bytes {
            return since != 0;
        }
        self.clear();
        if since != 0 {
            self.wait_from(now);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        limit: Duration::from_secs(10),
        bytes: 100,
    };

    fn at(flow: &Flow, seconds: u64) -> Instant {
        flow.base + Duration::from_secs(seconds)
    }

    #[test]
    fn who_sends_nothing_in_the_time_is_stuck_and_not_before() {
        let flow = Flow::new(Instant::now());
        assert!(!flow.is_stuck(PACE, at(&flow, 1_000)), "nobody waits");
        flow.wait_from(at(&flow, 1_000));
        assert!(!flow.is_stuck(PACE, at(&flow, 1_009)));
        assert!(flow.is_stuck(PACE, at(&flow, 1_010)));
        let none = Pace::new(0, 1);
        assert!(!flow.is_stuck(none, at(&flow, 9_000)), "no limit");
    }

    #[test]
    fn who_sends_byte_by_byte_is_stuck_and_who_sends_enough_is_not() {
        for (bytes, stuck) in [(1, true), (20, false)] {
            let flow = Flow::new(Instant::now());
            let mut found = false;
            for second in 0..100 {
                flow.wait_from(at(&flow, second));
                found |= flow.is_stuck(PACE, at(&flow, second + 1));
                flow.add_at(bytes, at(&flow, second + 1));
            }
            assert_eq!(found, stuck, "{bytes} bytes a second");
        }
    }

    #[test]
    fn time_in_which_nobody_waits_is_not_charged() {
        let flow = Flow::new(Instant::now());
        for turn in 0..9 {
            flow.wait_from(at(&flow, turn * 1_000));
            flow.add_at(1, at(&flow, turn * 1_000 + 1));
            assert!(!flow.is_stuck(PACE, at(&flow, turn * 1_000 + 999)));
        }
        flow.wait_from(at(&flow, 9_000));
        assert!(flow.is_stuck(PACE, at(&flow, 9_001)), "ten seconds waited");
    }

    #[test]
    fn when_all_has_moved_the_count_begins_anew() {
        let flow = Flow::new(Instant::now());
        flow.wait_from(at(&flow, 0));
        flow.rest();
        assert!(!flow.is_waiting());
        assert!(!flow.is_stuck(PACE, at(&flow, 100)));
        flow.wait_from(at(&flow, 100));
        assert!(!flow.is_stuck(PACE, at(&flow, 105)));
    }
}
