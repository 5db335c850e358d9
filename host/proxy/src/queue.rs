//! Requests that wait for an instance: how many, how much memory, how long. One count for each
//! service over all threads. It wakes nobody; who waits looks at every new view.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grace_model::config;

use crate::budget::ServiceCells;

/// What a waiting request's head is reckoned with.
const HEAD: u64 = 1_024;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// An instance: there is none that takes requests.
    Instance,
    /// Room on one, for a request of this rank.
    Room(u8),
}

/// How long one request has waited for what, over all its waits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    instance: Option<Instant>,
    room: Option<Instant>,
}

impl Patience {
    /// Until when it waits on.
    pub(crate) fn due(&mut self, wait: Wait, settings: &config::Proxy, now: Instant) -> Instant {
        match wait {
            Wait::Instance => {
                let limit = Duration::from_millis(settings.queue_timeout_ms);
                *self.instance.get_or_insert(now) + limit
            }
            Wait::Room(_) => {
                let limit = Duration::from_millis(settings.limit_wait_ms);
                *self.room.get_or_insert(now) + limit
            }
        }
    }
}

/// Who waits for an instance of one service.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// One request's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    cells: Arc<ServiceCells>,
    bytes: u64,
}

impl Queue {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A place for a request whose body takes so much memory; none when the queue is full.
pub(crate) fn enter(
    cells: &Arc<ServiceCells>,
    settings: &config::Proxy,
    body: u64,
    wait: Wait,
) -> Option<Ticket> {
    let queue = &cells.queue;
    let ticket = Ticket {
        cells: Arc::clone(cells),
        bytes: body.saturating_add(HEAD),
    };
    let requests = queue.requests.fetch_add(1, Ordering::Relaxed);
    let bytes = queue.bytes.fetch_add(ticket.bytes, Ordering::Relaxed);
    let most = settings.queue_bytes;
    let (few, most) = match wait {
        Wait::Instance => (requests < u64::from(settings.queue_requests), most),
        // Who waits for room moves on with every answer, so only memory bounds their number; the
        // less important leave some of it to those before them.
        Wait::Room(0) => (true, most),
        Wait::Room(1) => (true, most / 8 * 7),
        Wait::Room(_) => (true, most / 4 * 3),
    };
    let fits = few && bytes.saturating_add(ticket.bytes) <= most;
    // One that does not fit takes its count back as it is dropped.
    fits.then_some(ticket)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let queue = &self.cells.queue;
        queue.requests.fetch_sub(1, Ordering::Relaxed);
        queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_full_by_requests_or_by_bytes_and_places_are_given_back() {
        let cells = Arc::new(ServiceCells::new("shop".into(), 1));
        let settings = config::Proxy {
            queue_requests: 2,
            queue_bytes: 5_000,
            ..config::Proxy::default()
        };
        let enter = |body| enter(&cells, &settings, body, Wait::Instance);
        let first = enter(2_000).unwrap();
        assert!(enter(2_000).is_none(), "too many bytes");
        let second = enter(0).unwrap();
        assert!(enter(0).is_none(), "too many requests");
        drop(first);
        let third = enter(2_000).unwrap();
        drop((second, third));
        assert_eq!(cells.queue.requests(), 0);
        assert_eq!(cells.queue.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_waits_for_room_is_bounded_by_memory_and_leaves_some_to_the_more_important() {
        let cells = Arc::new(ServiceCells::new("shop".into(), 1));
        let settings = config::Proxy {
            queue_requests: 0,
            queue_bytes: 8 * HEAD,
            ..config::Proxy::default()
        };
        let mut places = Vec::new();
        for (rank, more) in [(2, 6), (1, 1), (0, 1)] {
            let before = places.len();
            while let Some(place) = enter(&cells, &settings, 0, Wait::Room(rank)) {
                places.push(place);
            }
            assert_eq!(places.len() - before, more, "rank {rank}");
        }
    }

    #[test]
    fn each_wait_has_its_own_time_and_all_of_a_kind_share_it() {
        let settings = config::Proxy {
            queue_timeout_ms: 5_000,
            limit_wait_ms: 1_000,
            ..config::Proxy::default()
        };
        let zero = Instant::now();
        let at = |s| zero + Duration::from_secs(s);
        let mut patience = Patience::default();
        assert_eq!(patience.due(Wait::Instance, &settings, at(0)), at(5));
        assert_eq!(patience.due(Wait::Instance, &settings, at(4)), at(5));
        assert_eq!(patience.due(Wait::Room(0), &settings, at(4)), at(5));
        assert_eq!(patience.due(Wait::Room(0), &settings, at(4)), at(5));
        assert_eq!(patience.due(Wait::Instance, &settings, at(6)), at(5));
    }
}
