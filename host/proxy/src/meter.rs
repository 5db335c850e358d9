//! What is in flight on one instance, against its limit, and how long answers take. Each thread
//! writes its own line and reads the others' only near the limit; nobody waits for anybody. It
//! sets no limit and holds nobody back.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::limit::{self, Seen};

/// No limit.
pub(crate) const NONE: u32 = u32::MAX;
/// Bits behind the point of a logarithm.
const POINT: u32 = 8;

/// One instance, over all threads.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: AtomicU32,
    /// Somebody was held back since the last look.
    held: AtomicBool,
    lines: Box<[Line]>,
}

/// What one thread counts, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line {
    inflight: AtomicU32,
    answered: AtomicU64,
    failed: AtomicU64,
    logs: AtomicU64,
    squares: AtomicU64,
}

/// Sums at a look, to be taken from those at the next.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    answered: u64,
    failed: u64,
    logs: u64,
    squares: u64,
}

impl Meter {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            limit: AtomicU32::new(NONE),
            held: AtomicBool::new(false),
            lines: (0..threads.max(1)).map(|_| Line::default()).collect(),
        }
    }

    /// Whether a request of this rank may be given to it by a thread.
    pub(crate) fn has_room(&self, thread: usize, rank: u8) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == NONE {
            return true;
        }
        let share = limit::share(limit, rank);
        let own = self.lines.get(thread).map_or(0, Line::inflight);
        // Below its even part a thread need not look at the others.
        let threads = u32::try_from(self.lines.len()).unwrap_or(NONE);
        own.saturating_mul(threads) < share || self.inflight() < share
    }

    /// A request is given to it.
    pub(crate) fn enter(&self, thread: usize) {
        if let Some(line) = self.lines.get(thread) {
            let more = line.inflight().wrapping_add(1);
            line.inflight.store(more, Ordering::Relaxed);
        }
    }

    /// It was answered, or will not be.
    pub(crate) fn leave(&self, thread: usize) {
        if let Some(line) = self.lines.get(thread) {
            let less = line.inflight().saturating_sub(1);
            line.inflight.store(less, Ordering::Relaxed);
        }
    }

    /// A good answer began after so many microseconds.
    pub(crate) fn took(&self, thread: usize, micros: u64) {
        let Some(line) = self.lines.get(thread) else {
            return;
        };
        let log = logarithm(micros);
        add(&line.answered, 1);
        add(&line.logs, log);
        add(&line.squares, log * log);
    }

    /// A server error was answered.
    pub(crate) fn failed(&self, thread: usize) {
        if let Some(line) = self.lines.get(thread) {
            add(&line.failed, 1);
        }
    }

    /// Somebody is held back because of it; true for the first since the last look.
    pub(crate) fn hold(&self) -> bool {
        !self.held.load(Ordering::Relaxed) && !self.held.swap(true, Ordering::Relaxed)
    }

    /// In flight now, over all threads.
    pub(crate) fn inflight(&self) -> u32 {
        let lines = self.lines.iter();
        lines.fold(0, |sum, line| sum.saturating_add(line.inflight()))
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, limit: u32) {
        if self.limit() != limit {
            self.limit.store(limit, Ordering::Relaxed);
        }
    }

    /// What was seen since the look before, whose sums these are.
    #[allow(clippy::cast_precision_loss, reason = "counts of some seconds")]
    pub(crate) fn look(&self, before: &mut Sums, waiting: bool) -> Seen {
        let mut now = Sums::default();
        for line in &self.lines {
            now.answered += line.answered.load(Ordering::Relaxed);
            now.failed += line.failed.load(Ordering::Relaxed);
            now.logs = now.logs.wrapping_add(line.logs.load(Ordering::Relaxed));
            now.squares = now
                .squares
                .wrapping_add(line.squares.load(Ordering::Relaxed));
        }
        let one = f64::from(1_u32 << POINT);
        let inflight = self.inflight();
        let full = inflight >= limit::share(self.limit(), u8::MAX);
        let seen = Seen {
            answered: now.answered.wrapping_sub(before.answered),
            failed: now.failed.wrapping_sub(before.failed),
            logs: now.logs.wrapping_sub(before.logs) as f64 / one,
            squares: now.squares.wrapping_sub(before.squares) as f64 / (one * one),
            inflight,
            held: self.held.swap(false, Ordering::Relaxed) || (waiting && full),
        };
        *before = now;
        seen
    }
}

impl Line {
    fn inflight(&self) -> u32 {
        self.inflight.load(Ordering::Relaxed)
    }
}

/// Only its owner writes it.
fn add(cell: &AtomicU64, more: u64) {
    let sum = cell.load(Ordering::Relaxed).wrapping_add(more);
    cell.store(sum, Ordering::Relaxed);
}

/// Logarithm to base 2 with `POINT` bits behind the point: the bits behind the highest one stand
/// for the rest of it, which is never wrong by more than a twelfth.
fn logarithm(number: u64) -> u64 {
    let number = number.max(1);
    let whole = number.ilog2();
    let rest = if whole >= POINT {
        number >> (whole - POINT)
    } else {
        number << (POINT - whole)
    };
    (u64::from(whole) << POINT) | (rest & ((1 << POINT) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_near_and_rises_with_its_number() {
        let mut before = 0;
        for number in (1..5_000).chain((1..40).map(|bits| 5_000_u64 << bits >> 1)) {
            let log = logarithm(number);
            assert!(log >= before, "{number}");
            before = log;
            let error = log as f64 / 256.0 - (number as f64).log2();
            assert!(error.abs() < 0.09, "{number}: {error}");
        }
        assert_eq!(
            (logarithm(0), logarithm(1), logarithm(u64::MAX) >> 8),
            (0, 0, 63)
        );
    }

    #[test]
    fn a_limit_is_of_all_threads_together_and_one_may_have_what_others_leave() {
        let meter = Meter::new(2);
        assert!(meter.has_room(0, 0), "no limit yet");
        meter.set_limit(10);
        for _ in 0..10 {
            assert!(meter.has_room(0, 0));
            meter.enter(0);
        }
        assert!(!meter.has_room(0, 0));
        // It takes its even part at once; the other one gets no more until it is below it again.
        assert!(meter.has_room(1, 0));
        for _ in 0..5 {
            meter.leave(0);
            meter.enter(1);
        }
        assert!(!meter.has_room(0, 0) && !meter.has_room(1, 0));
        meter.leave(1);
        assert!(
            meter.has_room(0, 0) && !meter.has_room(0, 1),
            "kept for higher ones"
        );
    }

    #[test]
    fn what_is_seen_is_what_happened_since_the_last_look() {
        let meter = Meter::new(2);
        meter.set_limit(4);
        let mut sums = Sums::default();
        meter.enter(0);
        meter.took(0, 1_024);
        meter.took(1, 4_096);
        meter.failed(1);
        assert!(meter.hold() && !meter.hold(), "told once");
        let seen = meter.look(&mut sums, false);
        assert_eq!((seen.answered, seen.failed, seen.inflight), (2, 1, 1));
        assert_eq!((seen.logs, seen.squares), (22.0, 244.0));
        assert!(seen.held);
        let seen = meter.look(&mut sums, false);
        assert_eq!((seen.answered, seen.held), (0, false));
        meter.enter(1);
        assert!(
            meter.look(&mut sums, true).held,
            "who waits is held while it is full"
        );
        meter.leave(1);
        assert!(
            !meter.look(&mut sums, true).held,
            "what he waits for is another"
        );
    }
}
