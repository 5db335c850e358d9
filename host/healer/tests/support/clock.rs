//! A clock that a test sets.

use std::sync::atomic::{AtomicI64, Ordering};

use grace_healer::{Clock, MachineClock};

/// The machine's clocks, each moved by so many milliseconds.
pub struct MovedClock {
    machine: MachineClock,
    pub wall: AtomicI64,
    pub steady: AtomicI64,
}

impl MovedClock {
    pub fn new() -> Self {
        Self {
            machine: MachineClock::new(),
            wall: AtomicI64::new(0),
            steady: AtomicI64::new(0),
        }
    }
}

impl Clock for MovedClock {
    fn wall_ms(&self) -> u64 {
        self.machine
            .wall_ms()
            .saturating_add_signed(self.wall.load(Ordering::Relaxed))
    }
    fn steady_ms(&self) -> u64 {
        self.machine
            .steady_ms()
            .saturating_add_signed(self.steady.load(Ordering::Relaxed))
    }
}
