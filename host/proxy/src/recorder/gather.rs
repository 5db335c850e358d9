//! From the parts of all threads to one recording, and which failures ask for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_capsule::{Coverage, Recording, Request, Why};
use grace_model::event::Subject;
use tokio::sync::broadcast;

use crate::endpoint::Endpoint;

/// Orders that a thread may be behind with. One that is further behind gives no part, which is
/// told in the recording.
const ORDERS: usize = 64;
/// How long the parts of the threads are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// An instance that is ejected again within this time is recorded once.
const AGAIN: Duration = Duration::from_secs(30);
/// Failures that are remembered, so that none is recorded twice.
const REMEMBERED: usize = 1_024;

/// Tells the threads to hand over what they have of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) ticket: u64,
    pub(crate) end: Arc<Endpoint>,
    /// Requests at most.
    pub(crate) most: usize,
}

/// What one thread has.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) requests: Vec<(Instant, Request)>,
    pub(crate) coverage: Coverage,
}

#[derive(Debug)]
struct Waiting {
    subject: Subject,
    why: Why,
    begun: Instant,
    most: usize,
    threads: usize,
    parts: Vec<Part>,
}

/// The recordings that are being gathered.
#[derive(Debug)]
pub(crate) struct Recordings {
    born: Instant,
    threads: usize,
    orders: broadcast::Sender<Order>,
    next: u64,
    waiting: HashMap<u64, Waiting>,
    /// By endpoint and cause, when it was last asked for.
    done: Vec<(u64, Why, Instant)>,
}

impl Recordings {
    pub(crate) fn new(born: Instant, threads: usize, orders: broadcast::Sender<Order>) -> Self {
        Self {
            born,
            threads,
            orders,
            next: 0,
            waiting: HashMap::new(),
            done: Vec::new(),
        }
    }

    /// The way of the orders to the threads.
    pub(crate) fn orders() -> broadcast::Sender<Order> {
        broadcast::Sender::new(ORDERS)
    }

    pub(crate) fn pending(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// An instance has failed: every thread is asked, unless they were already.
    pub(crate) fn begin(&mut self, end: &Arc<Endpoint>, why: Why, most: usize, now: Instant) {
        let known = self
            .done
            .iter()
            .position(|(id, was, _)| (*id, *was) == (end.id, why));
        if let Some(known) = known {
            let Some((_, _, at)) = self.done.get_mut(known) else {
                return;
            };
            // A process dies once.
            if why == Why::Died || now.saturating_duration_since(*at) < AGAIN {
                return;
            }
            *at = now;
        } else {
            if self.done.len() >= REMEMBERED {
                self.done.remove(0);
            }
            self.done.push((end.id, why, now));
        }
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(
            ticket,
            Waiting {
                subject: end.subject.clone(),
                why,
                begun: now,
                most,
                threads: self.threads,
                parts: Vec::new(),
            },
        );
        let end = Arc::clone(end);
        // Without a thread that listens the parts never come, and that is told.
        let _ = self.orders.send(Order { ticket, end, most });
    }

    /// A thread's part; the recording when it was the last one. `at` is the time of day.
    pub(crate) fn take(
        &mut self,
        ticket: u64,
        part: Part,
        at: u64,
        now: Instant,
    ) -> Option<Recording> {
        let waiting = self.waiting.get_mut(&ticket)?;
        waiting.parts.push(part);
        if waiting.parts.len() < waiting.threads {
            return None;
        }
        let waiting = self.waiting.remove(&ticket)?;
        Some(self.close(waiting, at, now))
    }

    /// Those whose threads did not all answer in time.
    pub(crate) fn overdue(&mut self, at: u64, now: Instant) -> Vec<Recording> {
        let late: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, it)| now.saturating_duration_since(it.begun) > PATIENCE)
            .map(|(ticket, _)| *ticket)
            .collect();
        late.into_iter()
            .filter_map(|ticket| {
                let waiting = self.waiting.remove(&ticket)?;
                Some(self.close(waiting, at, now))
            })
            .collect()
    }

    fn close(&self, waiting: Waiting, at: u64, now: Instant) -> Recording {
        let age = now.saturating_duration_since(self.born).as_millis();
        let silent = waiting.threads.saturating_sub(waiting.parts.len());
        let mut coverage = Coverage {
            recorder_ms: u64::try_from(age).unwrap_or(u64::MAX),
            silent_threads: u32::try_from(silent).unwrap_or(u32::MAX),
            ..Coverage::default()
        };
        let mut all = Vec::new();
        for part in waiting.parts {
            coverage.evicted += part.coverage.evicted;
            coverage.no_room += part.coverage.no_room;
            coverage.unrecorded_in_flight += part.coverage.unrecorded_in_flight;
            coverage.left_out += part.coverage.left_out;
            all.extend(part.requests);
        }
        // Suspects last among equals to go.
        all.sort_by_key(|(at, request)| (request.suspect, *at));
        let over = all.len().saturating_sub(waiting.most);
        coverage.left_out += over as u64;
        let mut all = all.split_off(over);
        all.sort_by_key(|(at, _)| *at);
        let first = all.first().map(|(at, _)| *at);
        let requests = all
            .into_iter()
            .map(|(at, request)| {
                let since = first.map_or(Duration::ZERO, |it| at.saturating_duration_since(it));
                Request {
                    at_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
                    ..request
                }
            })
            .collect();
        Recording {
            subject: waiting.subject,
            why: waiting.why,
            at,
            coverage,
            requests,
        }
    }
}
