//! The budget of second tries of one service, and the count of its requests. The count is kept
//! per thread without a lock; the budget is only asked when something has gone wrong.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grace_model::config::Class;
use grace_model::id::ServiceName;

use crate::queue::Queue;

/// Second tries per second that are always allowed, so that a small service has a budget too.
const FLOOR: u64 = 10;
/// The time that the share of second tries is averaged over.
const WINDOW: Duration = Duration::from_secs(10);

/// A counter that only one thread writes, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    /// One more. Only its owner may call this.
    pub(crate) fn bump(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What threads share of a service, over all tables.
#[derive(Debug)]
pub(crate) struct ServiceCells {
    pub(crate) name: ServiceName,
    requests: Box<[Cell]>,
    /// Sent away for want of room, by thread and class.
    shed: Box<[[Cell; 3]]>,
    spent: Mutex<Spent>,
    pub(crate) queue: Queue,
}

#[derive(Debug, Default)]
struct Spent {
    /// Requests counted at a time, about one entry a second.
    marks: VecDeque<(Instant, u64)>,
    /// When second tries were made.
    tries: VecDeque<Instant>,
}

impl ServiceCells {
    pub(crate) fn new(name: ServiceName, threads: usize) -> Self {
        Self {
            name,
            requests: (0..threads).map(|_| Cell::default()).collect(),
            shed: (0..threads).map(|_| Default::default()).collect(),
            spent: Mutex::new(Spent::default()),
            queue: Queue::default(),
        }
    }

    /// One request more on this thread.
    pub(crate) fn count(&self, thread: usize) {
        if let Some(cell) = self.requests.get(thread) {
            cell.bump();
        }
    }

    /// One request more was sent away on this thread.
    pub(crate) fn count_shed(&self, thread: usize, class: Class) {
        let cells = self.shed.get(thread);
        if let Some(cell) = cells.and_then(|cells| cells.get(class as usize)) {
            cell.bump();
        }
    }

    /// Requests of a class that were sent away.
    pub(crate) fn shed(&self, class: Class) -> u64 {
        let cells = self.shed.iter();
        cells
            .filter_map(|it| it.get(class as usize))
            .map(Cell::get)
            .sum()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.iter().map(Cell::get).sum()
    }

    /// Takes one second try from the budget; false when it is used up.
    pub(crate) fn spend(&self, percent: u32, now: Instant) -> bool {
        let total = self.requests();
        let mut spent = match self.spent.lock() {
            Ok(spent) => spent,
            Err(poisoned) => poisoned.into_inner(),
        };
        spent.spend(total, percent, now)
    }

    /// Whether a second try would be allowed now.
    pub(crate) fn affords(&self, percent: u32, now: Instant) -> bool {
        let total = self.requests();
        let mut spent = match self.spent.lock() {
            Ok(spent) => spent,
            Err(poisoned) => poisoned.into_inner(),
        };
        spent.affords(total, percent, now)
    }

    /// Called about once a second, so that the window has something to average over.
    pub(crate) fn mark(&self, now: Instant) {
        let total = self.requests();
        if let Ok(mut spent) = self.spent.lock() {
            spent.forget(now);
            spent.marks.push_back((now, total));
        }
    }
}

impl Spent {
    fn spend(&mut self, total: u64, percent: u32, now: Instant) -> bool {
        let yes = self.affords(total, percent, now);
        if yes {
            self.tries.push_back(now);
        }
        yes
    }

    fn affords(&mut self, total: u64, percent: u32, now: Instant) -> bool {
        self.forget(now);
        let second = now.checked_sub(Duration::from_secs(1));
        let recent = self
            .tries
            .iter()
            .rev()
            .take_while(|at| second.is_none_or(|s| **at > s));
        if (recent.count() as u64) < FLOOR {
            return true;
        }
        let before = self.marks.front().map_or(0, |mark| mark.1);
        let allowed = total
            .saturating_sub(before)
            .saturating_mul(u64::from(percent))
            / 100;
        (self.tries.len() as u64) < allowed
    }

    fn forget(&mut self, now: Instant) {
        let Some(start) = now.checked_sub(WINDOW) else {
            return;
        };
        while self.tries.front().is_some_and(|at| *at < start) {
            self.tries.pop_front();
        }
        while self.marks.front().is_some_and(|mark| mark.0 < start) {
            self.marks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> ServiceCells {
        ServiceCells::new(ServiceName::from("shop"), 2)
    }

    #[test]
    fn ten_second_tries_a_second_are_always_allowed() {
        let cells = cells();
        let now = Instant::now() + Duration::from_secs(100);
        for _ in 0..10 {
            assert!(cells.spend(20, now));
        }
        assert!(
            !cells.spend(20, now),
            "the eleventh within a second has no share to come from"
        );
        assert!(cells.spend(20, now + Duration::from_millis(1_001)));
    }

    #[test]
    fn beyond_the_floor_second_tries_are_a_share_of_the_requests_of_ten_seconds() {
        let cells = cells();
        let now = Instant::now() + Duration::from_secs(100);
        for _ in 0..500 {
            cells.count(0);
            cells.count(1);
        }
        let allowed = (0..1_000).filter(|_| cells.spend(20, now)).count();
        assert_eq!(allowed, 200, "20 of 100 of 1,000 requests");
        assert!(!cells.affords(20, now));
        let later = now + Duration::from_secs(5);
        let floor = (0..100).filter(|_| cells.spend(20, later)).count();
        assert_eq!(
            floor, 10,
            "the window still holds them: only the floor is left"
        );
    }

    #[test]
    fn requests_older_than_the_window_give_no_share() {
        let cells = cells();
        let now = Instant::now() + Duration::from_secs(100);
        for _ in 0..1_000 {
            cells.count(0);
        }
        cells.mark(now);
        let later = now + Duration::from_secs(8);
        assert_eq!((0..1_000).filter(|_| cells.spend(20, later)).count(), 10);
    }
}
