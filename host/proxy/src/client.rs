//! One client's connection: its bytes on their way through the scanner, its place in the table
//! of connections that the thread looks after.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use grace_model::id::ServiceName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::framing::{Scanner, Verdict};
use crate::head::ClientHead;
use crate::hub::Hub;
use crate::pick::LocalService;
use crate::socket::Socket;

/// A connection without a request is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// A client's socket whose bytes are looked at as they come.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: Socket,
    scanner: Scanner,
    verdict: Arc<Verdict>,
}

/// What its requests have in common.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) hub: Rc<Hub>,
    pub(crate) head: ClientHead,
    pub(crate) verdict: Arc<Verdict>,
    name: ServiceName,
    view: RefCell<(u64, Rc<LocalService>)>,
    /// Requests taken.
    taken: Cell<u64>,
    /// A request is on its way, or its answer.
    busy: Cell<bool>,
    watch: Cell<Watch>,
}

/// A request or its answer is on its way, so that the connection is not idle.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Client>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(false);
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
    pub(crate) fn new(stream: TcpStream, verdict: Arc<Verdict>) -> Self {
        Self {
            stream: Socket::new(stream),
            scanner: Scanner::default(),
            verdict,
        }
    }
}

impl Client {
    pub(crate) fn new(hub: Rc<Hub>, name: ServiceName, head: ClientHead, now: Instant) -> Self {
        let view = hub.view(&name);
        Self {
            view: RefCell::new((hub.epoch(), view)),
            hub,
            head,
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
        }
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

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Whether the connection has had its time: a head that does not come to its end, or no
    /// request at all. Called every now and then.
    pub(crate) fn overdue(&self, head_timeout: Duration, now: Instant) -> bool {
        let before = self.watch.get();
        let (reads, heads) = (self.verdict.reads(), self.verdict.heads());
        let in_head = self.verdict.in_head();
        let same = if in_head {
            before.in_head && before.heads == heads
        } else {
            !before.in_head && before.reads == reads && !self.busy.get()
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
            head_timeout
        } else {
            IDLE_MAX
        };
        now.saturating_duration_since(before.since) > limit
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
            this.scanner.scan(
                buf.filled().get(before..).unwrap_or_default(),
                &this.verdict,
            );
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
