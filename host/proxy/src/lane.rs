//! One endpoint as one thread sees it: its idle connections, what is in flight, what happened
//! in this window. Never leaves its thread, so nothing here is locked. It does not choose and
//! does not try again.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::report::Counts;
use hdrhistogram::Histogram;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::body::UpBody;
use crate::endpoint::{Endpoint, Failure};
use crate::line::Line;
use crate::recorder::Taken;
use crate::routes::{Report, Shared, ThreadCells};
use crate::socket::Socket;
use crate::tally::Tally;
use crate::wheel::Wheel;
use crate::wire::{Here, Sender};

/// Idle longer than this, a connection is not used again: many servers close theirs after
/// five seconds, and a request sent into that moment is lost.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// Idle connections kept for one endpoint by one thread.
const IDLE_COUNT: usize = 512;
/// Largest head of an answer.
const HEAD_MAX: usize = 64 * 1024;

/// What a thread's parts have in common.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) thread: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) wheel: Rc<Wheel>,
}

/// One endpoint on one thread.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) end: Arc<Endpoint>,
    pub(crate) core: Rc<Core>,
    /// Who waits for an instance of its service on this thread.
    line: Rc<Line>,
    inflight: Cell<u32>,
    leaving: Cell<bool>,
    /// Latest epoch at which `leaving` was seen.
    epoch: Cell<u64>,
    /// A request cancelled after this long counts as unanswered.
    patience: Cell<Duration>,
    eject_failures: Cell<u32>,
    idle: RefCell<Vec<(Instant, http1::SendRequest<UpBody>)>>,
    /// Where its connections went when it was last looked at.
    detour: Cell<u16>,
    /// It speaks HTTP/2.
    two: Cell<bool>,
    /// The connection of HTTP/2 that all requests share.
    shared: RefCell<Option<http2::SendRequest<UpBody>>>,
    open: RefCell<Vec<(u64, AbortHandle)>>,
    next: Cell<u64>,
    window: RefCell<Window>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Window {
    counts: Counts,
    /// Microseconds to the first byte; none until the first of a window.
    first_byte: Option<Box<Histogram<u32>>>,
}

/// What a lane did in a window.
#[derive(Debug)]
pub(crate) struct LaneWindow {
    pub(crate) end: Arc<Endpoint>,
    pub(crate) counts: Counts,
    pub(crate) inflight: u64,
    pub(crate) first_byte: Option<Box<Histogram<u32>>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("it has no address")]
    NoAddress,
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("it was fenced")]
    Fenced,
}

/// A histogram for times to the first byte: one minute, two digits, 12 KiB.
pub(crate) fn histogram() -> Option<Histogram<u32>> {
    Histogram::new_with_bounds(1, 60_000_000, 2).ok()
}

impl Lane {
    pub(crate) fn new(end: Arc<Endpoint>, core: Rc<Core>, line: Rc<Line>) -> Self {
        Self {
            end,
            core,
            line,
            inflight: Cell::new(0),
            leaving: Cell::new(false),
            epoch: Cell::new(0),
            patience: Cell::new(Duration::from_millis(500)),
            eject_failures: Cell::new(3),
            idle: RefCell::default(),
            detour: Cell::new(0),
            two: Cell::new(false),
            shared: RefCell::default(),
            open: RefCell::default(),
            next: Cell::new(0),
            window: RefCell::default(),
            tally: Arc::default(),
        }
    }

    pub(crate) fn inflight(&self) -> u32 {
        self.inflight.get()
    }

    /// Whether its instance can use one more request of this rank.
    pub(crate) fn has_room(&self, rank: u8) -> bool {
        self.end.meter.has_room(self.core.thread, rank)
    }

    /// Somebody waits because it has no room.
    pub(crate) fn hold(&self) {
        if self.end.meter.hold() {
            // When the channel is full, control looks twice a second all the same.
            let _ = self.core.reports.try_send(Report::Held);
        }
    }

    /// Which version of HTTP it speaks; connections of the other are not used any more.
    pub(crate) fn speak(&self, two: bool) {
        if self.two.replace(two) != two {
            self.idle.borrow_mut().clear();
            self.shared.take();
        }
    }

    /// What the table says now.
    pub(crate) fn set(&self, patience: Duration, eject_failures: u32, leaving: bool, epoch: u64) {
        self.patience.set(patience);
        self.eject_failures.set(eject_failures);
        self.leaving.set(leaving);
        self.epoch.set(epoch);
        let detour = self.end.detour();
        let moved = self.detour.replace(detour) != detour;
        if self.end.fenced() {
            self.cut();
        } else if moved || leaving || self.end.dead() || self.end.stopped() {
            self.idle.borrow_mut().clear();
            self.shared.take();
        }
        self.tell_idle();
    }

    /// Tells control when this thread has nothing more to do with a leaving endpoint.
    pub(crate) fn tell_idle(&self) {
        if self.leaving.get() && self.inflight.get() == 0 {
            // A full channel is no loss: it is told again with the next window.
            let _ = self.core.reports.try_send(Report::Idle {
                end: self.end.id,
                thread: self.core.thread,
                epoch: self.epoch.get(),
            });
        }
    }

    /// Closes every connection, also those with a request in flight.
    pub(crate) fn cut(&self) {
        self.idle.borrow_mut().clear();
        self.shared.take();
        for (_, task) in self.open.borrow_mut().drain(..) {
            task.abort();
        }
    }

    /// An idle connection, the latest used first.
    pub(crate) fn checkout(&self, now: Instant) -> Option<Sender> {
        if self.two.get() {
            let mut shared = self.shared.borrow_mut();
            shared.take_if(|it| it.is_closed());
            return shared.clone().map(Sender::Shared);
        }
        let mut idle = self.idle.borrow_mut();
        while let Some((since, sender)) = idle.pop() {
            if now.saturating_duration_since(since) > IDLE_MAX {
                // Those below it have waited even longer.
                idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(Sender::Own(sender));
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(crate) fn check_in(self: &Rc<Self>, sender: Sender) {
        // One that is shared is kept already.
        let Sender::Own(mut sender) = sender else {
            return;
        };
        if sender.is_ready() {
            self.keep(sender);
        } else if !sender.is_closed() {
            let lane = Rc::clone(self);
            tokio::task::spawn_local(async move {
                if sender.ready().await.is_ok() {
                    lane.keep(sender);
                }
            });
        }
    }

    fn keep(&self, sender: http1::SendRequest<UpBody>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_COUNT && self.end.usable() && !self.leaving.get() {
            idle.push((Instant::now(), sender));
        }
    }

    /// Drops connections that have been idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|(since, _)| now.saturating_duration_since(*since) <= IDLE_MAX);
    }

    /// A new connection, of which nothing has been used.
    pub(crate) async fn connect(&self, limit: Duration) -> Result<Socket, DialError> {
        let addr = self.end.addr.as_ref().ok_or(DialError::NoAddress)?;
        let stream = tokio::time::timeout(limit, self.end.connect(addr))
            .await
            .map_err(|_| DialError::TimedOut(limit))??;
        if self.end.fenced() {
            return Err(DialError::Fenced);
        }
        self.cells(|cells| cells.dials.bump());
        Ok(Socket::counted(stream, Arc::clone(&self.tally)))
    }

    /// A new connection for requests.
    pub(crate) async fn dial(self: &Rc<Self>, limit: Duration) -> Result<Sender, DialError> {
        let io = TokioIo::new(self.connect(limit).await?);
        if self.two.get() {
            let (sender, connection) = http2::Builder::new(Here)
                .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
                .handshake(io)
                .await?;
            self.drive(async move {
                // Its end is seen by the requests that were on it.
                let _ = connection.await;
            });
            if self.end.usable() && !self.leaving.get() {
                *self.shared.borrow_mut() = Some(sender.clone());
            }
            return Ok(Sender::Shared(sender));
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_MAX * 4)
            .handshake(io)
            .await?;
        self.drive(async move {
            // Its end is seen by the request that was on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(Sender::Own(sender))
    }

    /// Runs a connection's or tunnel's work until it ends or the lane is cut.
    pub(crate) fn drive(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        let lane: Weak<Self> = Rc::downgrade(self);
        let task = tokio::task::spawn_local(async move {
            work.await;
            if let Some(lane) = lane.upgrade() {
                lane.open.borrow_mut().retain(|(other, _)| *other != id);
            }
        });
        self.open.borrow_mut().push((id, task.abort_handle()));
    }

    /// Hands in the window; none when nothing happened.
    pub(crate) fn hand_in(&self) -> Option<LaneWindow> {
        let mut window = self.window.borrow_mut();
        let inflight = u64::from(self.inflight.get());
        let (received, sent) = self.tally.take();
        window.counts.received_bytes = received;
        window.counts.sent_bytes = sent;
        if window.counts == Counts::default() && inflight == 0 {
            return None;
        }
        Some(LaneWindow {
            end: Arc::clone(&self.end),
            counts: std::mem::take(&mut window.counts),
            inflight,
            first_byte: window.first_byte.take(),
        })
    }

    pub(crate) fn cells(&self, act: impl FnOnce(&ThreadCells)) {
        if let Some(cells) = self.core.shared.threads.get(self.core.thread) {
            act(cells);
        }
    }
}

/// A request given to a lane, until nothing of it is in flight any more.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) lane: Rc<Lane>,
    pub(crate) started: Instant,
    /// What is recorded of it.
    pub(crate) taken: Option<Taken>,
    trial: bool,
    settled: bool,
    /// It counts against the instance's limit: no answer has begun.
    inside: bool,
}

impl Run {
    pub(crate) fn begin(lane: Rc<Lane>, started: Instant, trial: bool) -> Self {
        lane.inflight.set(lane.inflight.get() + 1);
        lane.window.borrow_mut().counts.requests += 1;
        lane.end.meter.enter(lane.core.thread);
        Self {
            lane,
            started,
            taken: None,
            trial,
            settled: false,
            inside: true,
        }
    }

    /// The first byte of an answer came; the last byte of the request had come at `latest`, or
    /// before it was given to the instance.
    pub(crate) fn answered(&mut self, server_error: bool, latest: Instant, now: Instant) {
        self.settled = true;
        self.leave();
        let (meter, thread) = (&self.lane.end.meter, self.lane.core.thread);
        if server_error {
            meter.failed(thread);
        } else {
            let took = now.saturating_duration_since(latest.max(self.started));
            meter.took(thread, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        self.took(now);
        if server_error {
            self.lane.window.borrow_mut().counts.errors += 1;
            self.count_failure(Failure::ServerError);
        } else {
            self.lane.end.end_failures();
        }
        self.end_trial(!server_error);
    }

    /// A sibling that was asked later answered first, while its process ran: it was at least this
    /// slow. That it would never have answered nobody knows, so it is no failed request; but an
    /// instance that is outrun in a row is of no use.
    pub(crate) fn outrun(&mut self, now: Instant) {
        self.settled = true;
        self.took(now);
        self.count_failure(Failure::Unanswered);
        self.end_trial(false);
    }

    /// It takes no place of the instance's any more, and who waits may have it.
    fn leave(&mut self) {
        if std::mem::take(&mut self.inside) {
            self.lane.end.meter.leave(self.lane.core.thread);
            self.lane.line.call();
        }
    }

    fn took(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.started).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let mut window = self.lane.window.borrow_mut();
        window.counts.times.record(micros);
        if window.first_byte.is_none() {
            window.first_byte = histogram().map(Box::new);
        }
        if let Some(first_byte) = &mut window.first_byte {
            first_byte.saturating_record(micros.max(1));
        }
    }

    /// It was given the request and did not answer; `held` when that counts against it.
    pub(crate) fn unanswered(&mut self, held: bool) {
        self.settled = true;
        self.lane.window.borrow_mut().counts.unanswered += 1;
        if held {
            self.count_failure(Failure::Unanswered);
        }
        self.end_trial(false);
    }

    /// The answer broke off after its first byte.
    pub(crate) fn broke_off(&self) {
        if let Some(taken) = &self.taken {
            taken.broke();
        }
        self.lane.window.borrow_mut().counts.errors += 1;
        self.count_failure(Failure::Unanswered);
    }

    /// It could not be connected to: it got nothing.
    pub(crate) fn unreachable(&mut self) {
        self.settled = true;
        self.unrecord();
        {
            let mut window = self.lane.window.borrow_mut();
            window.counts.unanswered += 1;
        }
        self.count_failure(Failure::Unreachable);
        self.end_trial(false);
    }

    /// It got nothing, and that is not held against it.
    pub(crate) fn void(&mut self) {
        self.settled = true;
        self.unrecord();
        let mut window = self.lane.window.borrow_mut();
        window.counts.requests = window.counts.requests.saturating_sub(1);
        if self.trial {
            self.lane.end.give_trial_back();
            self.trial = false;
        }
    }

    /// It got nothing, so nothing of it is recorded.
    fn unrecord(&mut self) {
        if let Some(taken) = self.taken.take() {
            taken.void();
        }
    }

    fn count_failure(&self, failure: Failure) {
        let streak = self.lane.end.add_failure();
        if streak >= self.lane.eject_failures.get() && !self.lane.end.ejected() {
            // When the channel is full, the next failure in the row tells it.
            let _ = self.lane.core.reports.try_send(Report::Failing {
                end: Arc::clone(&self.lane.end),
                failure,
                streak,
            });
        }
    }

    fn end_trial(&mut self, passed: bool) {
        if std::mem::take(&mut self.trial) {
            let end = Arc::clone(&self.lane.end);
            if self
                .lane
                .core
                .reports
                .try_send(Report::Trial { end, passed })
                .is_err()
            {
                self.lane.end.give_trial_back();
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.settled {
            // The client went away, or a sibling was faster.
            let late = self.started.elapsed() >= self.lane.patience.get();
            if late {
                self.unanswered(true);
            } else if self.trial {
                self.lane.end.give_trial_back();
            }
        }
        self.leave();
        let left = self.lane.inflight.get().saturating_sub(1);
        self.lane.inflight.set(left);
        if left == 0 {
            self.lane.tell_idle();
        }
    }
}
