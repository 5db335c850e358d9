//! A counting semaphore before the pool of instances: a call waits for its turn instead of
//! failing because the pool is full. Knows nothing of what is counted.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// So many may be inside at once.
pub struct Permits {
    free: Mutex<u32>,
    freed: Condvar,
}

/// One who is inside. Dropping it lets the next in.
pub struct Permit<'a>(&'a Permits);

impl Permits {
    /// `count` permits.
    pub fn new(count: u32) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Waits for a permit until `deadline`.
    pub fn acquire(&self, deadline: Instant) -> Option<Permit<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            free = self
                .freed
                .wait_timeout(free, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *free -= 1;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_that_is_given_back_lets_the_next_one_in() {
        let permits = Permits::new(1);
        let first = permits.acquire(Instant::now());
        assert!(first.is_some());
        assert!(permits.acquire(Instant::now()).is_none());
        drop(first);
        assert!(permits.acquire(Instant::now()).is_some());
    }
}
