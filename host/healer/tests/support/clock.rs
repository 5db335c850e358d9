//! A clock that a test sets.

use std::sync::atomic::{AtomicI64, Ordering};

use grace_healer::{Clock, MachineClock};

/// The machine's clocks, each moved by so many milliseconds.
pub struct MovedClock {
    machine: MachineClock,
    pub wall: AtomicI64,
    pub steady: AtomicI64,
    /// How often the machine was started.
    pub boots: AtomicI64,
}

impl MovedClock {
    pub fn new() -> Self {
        Self {
            machine: MachineClock::new(),
            wall: AtomicI64::new(0),
            steady: AtomicI64::new(0),
            boots: AtomicI64::new(1),
        }
    }
}

/// Kills the process at the N-th time that a run of a playbook asks for the time, which it does
/// before and after everything that it journals or does.
pub struct DeadlyClock {
    machine: MachineClock,
    left: AtomicI64,
}

impl DeadlyClock {
    /// Never when `at` is below 1.
    pub fn new(at: i64) -> Self {
        Self {
            machine: MachineClock::new(),
            left: AtomicI64::new(at),
        }
    }

    fn count(&self) {
        let run = std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("run-"));
        if run && self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // As SIGKILL would: nothing is flushed and nobody is told.
            std::process::abort();
        }
    }
}

impl Clock for DeadlyClock {
    fn wall_ms(&self) -> u64 {
        self.count();
        self.machine.wall_ms()
    }
    fn steady_ms(&self) -> u64 {
        self.count();
        self.machine.steady_ms()
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
    fn boot(&self) -> String {
        self.boots.load(Ordering::Relaxed).to_string()
    }
}
