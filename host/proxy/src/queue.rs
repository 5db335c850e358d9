//! Requests that wait for an instance: how many, how much memory, how long. One count for each
//! service over all threads. It wakes nobody; who waits looks at every new view.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grace_model::config;

use crate::budget::ServiceCells;

/// What a waiting request's head is reckoned with.
const HEAD: u64 = 1_024;

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
) -> Option<Ticket> {
    let queue = &cells.queue;
    let ticket = Ticket {
        cells: Arc::clone(cells),
        bytes: body.saturating_add(HEAD),
    };
    let requests = queue.requests.fetch_add(1, Ordering::Relaxed);
    let bytes = queue.bytes.fetch_add(ticket.bytes, Ordering::Relaxed);
    let fits = requests < u64::from(settings.queue_requests)
        && bytes.saturating_add(ticket.bytes) <= settings.queue_bytes;
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
        let first = enter(&cells, &settings, 2_000).unwrap();
        assert!(enter(&cells, &settings, 2_000).is_none(), "too many bytes");
        let second = enter(&cells, &settings, 0).unwrap();
        assert!(enter(&cells, &settings, 0).is_none(), "too many requests");
        drop(first);
        let third = enter(&cells, &settings, 2_000).unwrap();
        drop((second, third));
        assert_eq!(cells.queue.requests(), 0);
        assert_eq!(cells.queue.bytes.load(Ordering::Relaxed), 0);
    }
}
