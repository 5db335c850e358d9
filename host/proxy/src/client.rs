//! One client's connection: its bytes on their way through the scanner, its place in the table
//! of connections that the thread looks after.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use grace_model::config;
use grace_model::id::ServiceName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::Upload;
use crate::flow::{Flow, Pace};
use crate::forwarded::ClientHead;
use crate::framing::{Scanner, Verdict};
use crate::hub::Hub;
use crate::pick::LocalService;
use crate::socket::Socket;

/// How long a connection waits for a table that knows its service.
const TABLE_WAIT: Duration = Duration::from_secs(1);

/// A client's socket whose bytes are looked at as they come.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: Socket,
    /// None: what comes is in frames.
    scanner: Option<Scanner>,
    verdict: Arc<Verdict>,
}

/// What its requests have in common.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) hub: Rc<Hub>,
    /// Set once it is known who the client is.
    pub(crate) head: OnceCell<ClientHead>,
    pub(crate) verdict: Arc<Verdict>,
    name: ServiceName,
    view: RefCell<(u64, Rc<LocalService>)>,
    /// Requests taken.
    taken: Cell<u64>,
    /// A request is on its way, or its answer.
    busy: Cell<bool>,
    watch: Cell<Watch>,
    /// The instance bringing the body of its answer.
    pub(crate) answer: Flow,
    /// A body that is still being sent though its answer has begun.
    late: RefCell<Option<Rc<Upload>>>,
    /// Its instance was too slow: this is held against it.
    stalled: Cell<bool>,
    /// Requests of HTTP/2 that are on their way or being answered.
    streams: RefCell<Vec<Weak<Client>>>,
    /// It is one of those itself, and this is its connection.
    connection: Option<Rc<Client>>,
}

/// Why a connection has had its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// A head that does not come to its end, or no request at all.
    Waiting,
    /// The client does not send its body, or does not take its answer.
    Client,
    /// The instance stands still.
    Instance,
}

/// A request or its answer is on its way, so that the connection is not idle.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Client>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.answer.rest();
        self.0.late.take();
    }
}

impl Busy {
    /// Where waiting for the instance's body is counted.
    pub(crate) fn flow(&self) -> &Flow {
        &self.0.answer
    }

    /// Whether the client speaks HTTP/2, so that answers end by their own streams.
    pub(crate) fn is_stream(&self) -> bool {
        self.0.is_stream()
    }

    /// Where the client taking its answer is counted.
    pub(crate) fn out(&self) -> &Flow {
        &self.0.verdict.out
    }

    /// Whether the connection ends because its instance stood still.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.stalled.get()
    }

    /// The answer has begun before the request's body has ended.
    pub(crate) fn keep_late(&self, upload: Rc<Upload>) {
        *self.0.late.borrow_mut() = Some(upload);
    }
}

/// What the thread saw when it last looked after the connection.
#[derive(Debug, Clone, Copy)]
struct Watch {
    reads: u32,
    heads: u64,
    in_head: bool,
    since: Instant,
}

impl ClientIo {
    pub(crate) fn new(stream: Socket, verdict: Arc<Verdict>) -> Self {
        Self {
            stream,
            scanner: Some(Scanner::default()),
            verdict,
        }
    }

    /// One of HTTP/2.
    pub(crate) fn unscanned(stream: Socket, verdict: Arc<Verdict>) -> Self {
        Self {
            stream,
            scanner: None,
            verdict,
        }
    }
}

impl Client {
    pub(crate) fn new(hub: Rc<Hub>, name: ServiceName, now: Instant) -> Self {
        let view = hub.view(&name);
        Self {
            view: RefCell::new((hub.epoch(), view)),
            hub,
            head: OnceCell::new(),
            verdict: Arc::new(Verdict::default()),
            name,
            taken: Cell::new(0),
            busy: Cell::new(false),
            watch: Cell::new(Watch {
                reads: 0,
                heads: 0,
                in_head: false,
                since: now,
            }),
            answer: Flow::new(now),
            late: RefCell::default(),
            stalled: Cell::new(false),
            streams: RefCell::default(),
            connection: None,
        }
    }

    /// One request of a connection of HTTP/2: what an HTTP/1.1 connection is for its requests,
    /// since many go on at once.
    pub(crate) fn stream(connection: &Rc<Self>) -> Rc<Self> {
        let hub = Rc::clone(&connection.hub);
        let mut it = Self::new(hub, connection.name.clone(), Instant::now());
        it.head = connection.head.clone();
        it.connection = Some(Rc::clone(connection));
        let it = Rc::new(it);
        let mut streams = connection.streams.borrow_mut();
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Rc::downgrade(&it));
        it
    }

    /// Whether it speaks HTTP/2.
    pub(crate) fn is_stream(&self) -> bool {
        self.connection.is_some()
    }

    fn has_streams(&self) -> bool {
        let streams = self.streams.borrow();
        streams.iter().any(|stream| stream.strong_count() > 0)
    }

    /// The service as of now.
    pub(crate) fn service(&self) -> Rc<LocalService> {
        self.hub.refresh();
        let epoch = self.hub.epoch();
        let mut view = self.view.borrow_mut();
        if view.0 != epoch {
            *view = (epoch, self.hub.view(&self.name));
        }
        Rc::clone(&view.1)
    }

    /// Takes the next request; whether its head is to be believed, and a guard to be kept
    /// until its answer is through.
    pub(crate) fn take(self: &Rc<Self>) -> (bool, Busy) {
        let number = self.taken.get();
        self.taken.set(number + 1);
        self.busy.set(true);
        (self.verdict.trusts(number), Busy(Rc::clone(self)))
    }

    /// Keeps the connection from being taken for an idle one.
    pub(crate) fn hold(self: &Rc<Self>) -> Busy {
        self.busy.set(true);
        Busy(Rc::clone(self))
    }

    /// The service once the table knows it, or after a while.
    pub(crate) async fn settled(&self) -> Rc<LocalService> {
        let due = Instant::now() + TABLE_WAIT;
        loop {
            let changed = self.hub.changed.notified();
            let service = self.service();
            let core = &self.hub.core;
            if service.known || core.wheel.until(pin!(changed), due).await.is_none() {
                return service;
            }
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get() || self.has_streams()
    }

    /// Whether the connection has had its time. Called every now and then.
    pub(crate) fn overdue(&self, settings: &config::Proxy, now: Instant) -> Option<Overdue> {
        let taking = Pace::new(settings.download_timeout_ms, settings.slow_bytes);
        let late = self.late.borrow();
        let sending = late.as_ref().filter(|it| !it.ended());
        if self.verdict.out.is_stuck(taking, now)
            || sending.is_some_and(|it| it.is_too_slow(settings, now))
        {
            return Some(Overdue::Client);
        }
        let streams = self.streams.borrow();
        let stuck = |it: Rc<Self>| it.verdict.out.is_stuck(taking, now);
        if streams.iter().filter_map(Weak::upgrade).any(stuck) {
            return Some(Overdue::Client);
        }
        // An instance that stands still ends its own stream, not the connection of all.
        let stall = Pace::new(settings.stall_timeout_ms, 1);
        if self.answer.is_stuck(stall, now) {
            self.stalled.set(true);
            return Some(Overdue::Instance);
        }
        self.waits_too_long(settings, now)
            .then_some(Overdue::Waiting)
    }

    /// How long the connection has been without a request, a whole one.
    pub(crate) fn waiting(&self, now: Instant) -> Option<Duration> {
        let waits = !self.is_busy();
        waits.then(|| now.saturating_duration_since(self.watch.get().since))
    }

    fn waits_too_long(&self, settings: &config::Proxy, now: Instant) -> bool {
        let before = self.watch.get();
        let (reads, heads) = (self.verdict.reads(), self.verdict.heads());
        let in_head = self.verdict.in_head();
        let same = if in_head {
            before.in_head && before.heads == heads
        } else {
            !before.in_head && before.reads == reads && !self.is_busy()
        };
        if !same {
            self.watch.set(Watch {
                reads,
                heads,
                in_head,
                since: now,
            });
            return false;
        }
        let limit = if in_head || heads == 0 {
            settings.head_timeout_ms
        } else {
            settings.idle_timeout_ms
        };
        now.saturating_duration_since(before.since) > Duration::from_millis(limit)
    }
}

impl ClientIo {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.verdict.out.wait(),
            Poll::Ready(Ok(count)) => self.verdict.out.add(*count),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if result.is_ready() {
            let new = buf.filled().get(before..).unwrap_or_default();
            let Some(scanner) = &mut this.scanner else {
                this.verdict.came();
                return result;
            };
            if let Err(lost) = scanner.scan(new, &this.verdict) {
                // Nobody gets to see any of it.
                buf.set_filled(before);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, lost)));
            }
        }
        result
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&result);
        result
    }

    /// Called when all that there was to send has been given to the socket.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.verdict.out.rest();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
