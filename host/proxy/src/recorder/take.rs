//! One request given to one instance, as it is recorded while it goes by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_capsule::{Answer, Blob, Coverage, Outcome, Request};
use grace_model::record::Record;
use http::HeaderMap;
use http::request::Parts;

use super::gather::Part;
use super::head;
use super::ring::Ring;

/// Memory of a recorded request beside its bytes: its places in the ring and its own size.
const OVERHEAD: u64 = 512;
/// Longest head that is recorded.
const HEAD_MAX: usize = 32 * 1024;
/// A connection that broke so long before the hand-over broke for another reason.
const BROKE: Duration = Duration::from_secs(2);

/// The recorder of one service on one thread.
#[derive(Debug)]
pub(crate) struct Tape {
    rules: Arc<Record>,
    /// Bytes that this thread may keep.
    limit: u64,
    ring: RefCell<Ring>,
    next: Cell<u64>,
    evicted: Cell<u64>,
    no_room: Cell<u64>,
    /// In flight on routes that are not recorded, by endpoint.
    skipped: RefCell<Vec<(u64, u64)>>,
}

/// A request as it came, for all instances that it is given to.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Whether its route is recorded; else nothing of it is here.
    recorded: bool,
    pub(super) route: u64,
    method: String,
    target: String,
    headers: Vec<u8>,
    body: RefCell<Vec<u8>>,
    body_bytes: Cell<u64>,
    /// Bytes of the body that are kept.
    keep: u64,
}

/// One request at one instance.
#[derive(Debug)]
pub(super) struct Take {
    pub(super) asked: Rc<Asked>,
    pub(super) end: u64,
    pub(super) number: u64,
    /// Bytes that the ring counts for it.
    pub(super) booked: Cell<u64>,
    at: Instant,
    heard: RefCell<Option<Heard>>,
    outcome: Cell<Outcome>,
    over: Cell<Option<Instant>>,
}

/// An answer, as far as it came.
#[derive(Debug)]
struct Heard {
    status: u16,
    headers: Vec<u8>,
    body: Vec<u8>,
    body_bytes: u64,
    after: Duration,
}

/// A request in flight. Dropping it says that it is over.
#[derive(Debug)]
pub(crate) struct Taken {
    tape: Rc<Tape>,
    end: u64,
    /// None: on a route that is not recorded.
    take: Option<Rc<Take>>,
}

impl Asked {
    /// A request whose head is here.
    pub(crate) fn new(parts: &Parts, rules: &Record) -> Rc<Self> {
        let path = parts.uri.path();
        let recorded = rules.records(path);
        let target = parts.uri.path_and_query().map_or("/", |it| it.as_str());
        let mut headers = if recorded {
            head::pack(&parts.headers)
        } else {
            Vec::new()
        };
        headers.truncate(HEAD_MAX);
        Rc::new(Self {
            recorded,
            route: head::route(parts.method.as_str(), path),
            method: parts.method.as_str().to_owned(),
            target: if recorded {
                target.to_owned()
            } else {
                String::new()
            },
            headers,
            body: RefCell::default(),
            body_bytes: Cell::new(0),
            keep: if recorded { rules.body_bytes } else { 0 },
        })
    }

    /// Some of its body has come.
    pub(crate) fn body(&self, data: &[u8]) {
        self.body_bytes
            .set(self.body_bytes.get().saturating_add(data.len() as u64));
        keep(&mut self.body.borrow_mut(), data, self.keep);
    }

    fn bytes(&self) -> u64 {
        let head = self.method.len() + self.target.len() + self.headers.capacity();
        (head + self.body.borrow().capacity()) as u64
    }
}

/// Keeps as much of it as fits into `limit` with what is there.
fn keep(kept: &mut Vec<u8>, data: &[u8], limit: u64) {
    let room = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(kept.len());
    kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
}

impl Tape {
    /// A recorder that may keep `limit` bytes.
    pub(crate) fn new(rules: Arc<Record>, limit: u64) -> Self {
        Self {
            rules,
            limit,
            ring: RefCell::default(),
            next: Cell::new(0),
            evicted: Cell::new(0),
            no_room: Cell::new(0),
            skipped: RefCell::default(),
        }
    }

    pub(crate) fn rules(&self) -> &Arc<Record> {
        &self.rules
    }

    /// The request is given to an instance. None when there is no room for it.
    pub(crate) fn take(self: &Rc<Self>, asked: &Rc<Asked>, end: u64, at: Instant) -> Option<Taken> {
        let taken = |take| Taken {
            tape: Rc::clone(self),
            end,
            take,
        };
        if !asked.recorded {
            self.count_skipped(end, true);
            return Some(taken(None));
        }
        let bytes = asked.bytes() + OVERHEAD;
        let mut ring = self.ring.borrow_mut();
        if !ring.has_room(bytes, self.limit) {
            self.no_room.set(self.no_room.get() + 1);
            return None;
        }
        let number = self.next.get();
        self.next.set(number + 1);
        let take = Rc::new(Take {
            asked: Rc::clone(asked),
            end,
            number,
            booked: Cell::new(bytes),
            at,
            heard: RefCell::default(),
            outcome: Cell::new(Outcome::InFlight),
            over: Cell::new(None),
        });
        ring.open(Rc::clone(&take));
        Some(taken(Some(take)))
    }

    fn count_skipped(&self, end: u64, begins: bool) {
        let mut skipped = self.skipped.borrow_mut();
        match skipped.iter_mut().find(|(other, _)| *other == end) {
            Some((_, count)) if begins => *count += 1,
            Some((_, count)) => *count = count.saturating_sub(1),
            None => skipped.push((end, u64::from(begins))),
        }
        // Endpoints come and go.
        skipped.retain(|(_, count)| *count > 0);
    }

    /// All that is known of an endpoint's requests, at most `most`, oldest first.
    pub(crate) fn hand_over(&self, end: u64, most: usize, now: Instant) -> Part {
        let all = self.ring.borrow().of(end);
        let left_out = all.len().saturating_sub(most);
        // Those in flight are what matters, and some may be old.
        let mut open: usize = all.iter().filter(|(_, open)| *open).count().min(most);
        let mut closed = most - open;
        let mut requests = Vec::new();
        for (take, is_open) in all.iter().rev() {
            let room = if *is_open { &mut open } else { &mut closed };
            if *room > 0 {
                *room -= 1;
                requests.push((take.at, take.request(*is_open, now)));
            }
        }
        requests.reverse();
        let skipped = self.skipped.borrow();
        let skipped = skipped.iter().find(|(other, _)| *other == end);
        Part {
            requests,
            coverage: Coverage {
                evicted: self.evicted.get(),
                no_room: self.no_room.get(),
                unrecorded_in_flight: skipped.map_or(0, |(_, count)| *count),
                left_out: left_out as u64,
                ..Coverage::default()
            },
        }
    }
}

impl Take {
    pub(super) fn bytes(&self) -> u64 {
        let heard = self.heard.borrow();
        let heard = heard
            .as_ref()
            .map_or(0, |it| it.headers.capacity() + it.body.capacity());
        self.asked.bytes() + heard as u64 + OVERHEAD
    }

    fn request(&self, open: bool, now: Instant) -> Request {
        let heard = self.heard.borrow();
        let outcome = match (open, heard.is_some()) {
            (true, true) => Outcome::Answering,
            (true, false) => Outcome::InFlight,
            (false, _) => self.outcome.get(),
        };
        let lately = self
            .over
            .get()
            .is_some_and(|over| now.saturating_duration_since(over) <= BROKE);
        let unanswered = matches!(outcome, Outcome::BrokeOff | Outcome::GivenUp);
        Request {
            at_us: 0,
            method: self.asked.method.clone(),
            target: self.asked.target.clone(),
            headers: head::unpack(&self.asked.headers),
            body: Blob(self.asked.body.borrow().clone()),
            body_bytes: self.asked.body_bytes.get(),
            outcome,
            suspect: open || unanswered && lately,
            answer: heard.as_ref().map(|heard| Answer {
                status: heard.status,
                headers: head::unpack(&heard.headers),
                body: Blob(heard.body.clone()),
                body_bytes: heard.body_bytes,
                after_us: u64::try_from(heard.after.as_micros()).unwrap_or(u64::MAX),
            }),
        }
    }
}

impl Taken {
    /// The head of an answer.
    pub(crate) fn answer(&self, status: u16, headers: &HeaderMap, now: Instant) {
        if let Some(take) = &self.take {
            *take.heard.borrow_mut() = Some(Heard {
                status,
                headers: head::pack(headers),
                body: Vec::new(),
                body_bytes: 0,
                after: now.saturating_duration_since(take.at),
            });
        }
    }

    /// Some of the answer's body.
    pub(crate) fn body(&self, data: &[u8]) {
        if let Some(take) = &self.take
            && let Some(heard) = &mut *take.heard.borrow_mut()
        {
            heard.body_bytes = heard.body_bytes.saturating_add(data.len() as u64);
            keep(&mut heard.body, data, take.asked.keep);
        }
    }

    /// The answer is through.
    pub(crate) fn ended(&self) {
        self.set(Outcome::Answered);
    }

    /// The connection broke.
    pub(crate) fn broke(&self) {
        self.set(Outcome::BrokeOff);
    }

    /// Nothing of the request was sent: it is as if it had not been given.
    pub(crate) fn void(mut self) {
        if let Some(take) = self.take.take() {
            let mut ring = self.tape.ring.borrow_mut();
            ring.forget(&take);
        } else {
            self.tape.count_skipped(self.end, false);
        }
        // Not again when it is dropped.
        self.end = u64::MAX;
    }

    fn set(&self, outcome: Outcome) {
        if let Some(take) = &self.take {
            take.outcome.set(outcome);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(take) = &self.take else {
            if self.end != u64::MAX {
                self.tape.count_skipped(self.end, false);
            }
            return;
        };
        if take.outcome.get() == Outcome::InFlight {
            take.outcome.set(Outcome::GivenUp);
        }
        take.over.set(Some(Instant::now()));
        let gone = self.tape.ring.borrow_mut().close(take, self.tape.limit);
        self.tape.evicted.set(self.tape.evicted.get() + gone);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
