//! What is kept and what goes: all that is in flight, the latest, and of each route the last few.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::take::Take;

/// Requests of a route that stay when newer ones of other routes push them out.
const ROUTE_KEEP: usize = 4;
/// Routes that are kept so; the one used longest ago goes.
const ROUTES: usize = 256;
/// Latest requests at most, whatever they take.
const RECENT: usize = 4_096;

/// The kept requests of one service on one thread.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// In flight, by number. These never go for newer ones.
    open: HashMap<u64, Rc<Take>>,
    open_bytes: u64,
    recent: VecDeque<Rc<Take>>,
    routes: HashMap<u64, Route>,
    closed_bytes: u64,
}

#[derive(Debug, Default)]
struct Route {
    kept: VecDeque<Rc<Take>>,
    /// The highest number in it.
    latest: u64,
}

impl Ring {
    /// Whether one more of this size may be in flight.
    pub(super) fn has_room(&self, bytes: u64, limit: u64) -> bool {
        self.open_bytes.saturating_add(bytes) <= limit
    }

    pub(super) fn open(&mut self, take: Rc<Take>) {
        self.open_bytes += take.booked.get();
        self.open.insert(take.number, take);
    }

    /// It was never in flight.
    pub(super) fn forget(&mut self, take: &Rc<Take>) {
        if self.open.remove(&take.number).is_some() {
            self.open_bytes = self.open_bytes.saturating_sub(take.booked.get());
        }
    }

    /// It is over. Gives how many went for it.
    pub(super) fn close(&mut self, take: &Rc<Take>, limit: u64) -> u64 {
        if self.open.remove(&take.number).is_none() {
            return 0;
        }
        self.open_bytes = self.open_bytes.saturating_sub(take.booked.get());
        take.booked.set(take.bytes());
        self.closed_bytes += take.booked.get();
        self.recent.push_back(Rc::clone(take));
        let mut gone = 0;
        while self.closed_bytes + self.open_bytes > limit || self.recent.len() > RECENT {
            match self.recent.pop_front() {
                Some(old) => gone += self.retire(old),
                None if self.drop_route() => gone += 1,
                None => break,
            }
        }
        gone
    }

    /// Moves one to its route's; gives how many went.
    fn retire(&mut self, old: Rc<Take>) -> u64 {
        let route = self.routes.entry(old.asked.route).or_default();
        route.latest = old.number;
        route.kept.push_back(old);
        let mut gone = 0;
        if route.kept.len() > ROUTE_KEEP
            && let Some(oldest) = route.kept.pop_front()
        {
            self.closed_bytes = self.closed_bytes.saturating_sub(oldest.booked.get());
            gone += 1;
        }
        if self.routes.len() > ROUTES && self.drop_route() {
            gone += 1;
        }
        gone
    }

    /// Lets the oldest of the route go that was used longest ago.
    fn drop_route(&mut self) -> bool {
        let oldest = self.routes.iter().min_by_key(|(_, route)| route.latest);
        let Some(key) = oldest.map(|(key, _)| *key) else {
            return false;
        };
        let gone = self
            .routes
            .get_mut(&key)
            .and_then(|route| route.kept.pop_front());
        if self.routes.get(&key).is_some_and(|it| it.kept.is_empty()) {
            self.routes.remove(&key);
        }
        if let Some(gone) = &gone {
            self.closed_bytes = self.closed_bytes.saturating_sub(gone.booked.get());
        }
        gone.is_some()
    }

    /// All of one endpoint, by number, and whether each is in flight.
    pub(super) fn of(&self, end: u64) -> Vec<(Rc<Take>, bool)> {
        let kept = self.routes.values().flat_map(|route| &route.kept);
        let closed = kept.chain(&self.recent).map(|take| (take, false));
        let open = self.open.values().map(|take| (take, true));
        let mut all: Vec<(Rc<Take>, bool)> = closed
            .chain(open)
            .filter(|(take, _)| take.end == end)
            .map(|(take, open)| (Rc::clone(take), open))
            .collect();
        all.sort_by_key(|(take, _)| take.number);
        all
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.closed_bytes + self.open_bytes
    }
}
