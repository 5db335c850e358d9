//! Bodies on their way through: a request's body, kept for a second try up to a limit, and an
//! answer's body, which gives its connection back when it has been read to the end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use grace_model::config;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use crate::client::Busy;
use crate::flow::{Flow, Pace};
use crate::lane::Run;
use crate::recorder::Asked;
use crate::wire::Sender;

/// A request's body as an instance gets it.
#[derive(Debug)]
pub(crate) enum UpBody {
    /// There is none.
    Empty,
    /// Passed on and forgotten.
    Through(Incoming, Rc<Upload>),
    /// Passed on and kept.
    Kept(Reader),
}

/// How far a client has come with its body.
#[derive(Debug)]
pub(crate) struct Upload {
    /// It was the client who broke it off.
    failed: Cell<bool>,
    ended: Cell<bool>,
    /// When the last of it came.
    latest: Cell<Instant>,
    /// Waiting for the client to send.
    flow: Flow,
    /// Where it is recorded.
    asked: Option<Rc<Asked>>,
}

/// A body that can be read again as long as it is short enough.
#[derive(Debug)]
pub(crate) struct Store {
    client: RefCell<Incoming>,
    hint: SizeHint,
    limit: u64,
    kept: RefCell<Vec<Bytes>>,
    size: Cell<u64>,
    over: Cell<bool>,
    upload: Rc<Upload>,
}

/// One reading of a store.
#[derive(Debug)]
pub(crate) struct Reader {
    store: Rc<Store>,
    at: usize,
}

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpBodyError {
    #[error("the client's body broke off: {0}")]
    Client(hyper::Error),
    #[error("the body is no longer kept")]
    NotKept,
}

impl Upload {
    pub(crate) fn begin(now: Instant, asked: Option<Rc<Asked>>) -> Self {
        Self {
            failed: Cell::new(false),
            ended: Cell::new(false),
            latest: Cell::new(now),
            flow: Flow::new(now),
            asked,
        }
    }

    fn record(&self, data: &[u8]) {
        if let Some(asked) = &self.asked {
            asked.body(data);
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) fn latest(&self) -> Instant {
        self.latest.get()
    }

    /// Whether it is the client that is waited for, and not the instance.
    pub(crate) fn is_waiting(&self) -> bool {
        self.flow.is_waiting()
    }

    /// Whether the client sends less than it must.
    pub(crate) fn is_too_slow(&self, settings: &config::Proxy, now: Instant) -> bool {
        let pace = Pace::new(settings.upload_timeout_ms, settings.slow_bytes);
        self.flow.is_stuck(pace, now)
    }

    fn came(&self, bytes: usize, last: bool) {
        self.latest.set(Instant::now());
        self.flow.add(bytes);
        self.ended.set(last);
    }

    fn waits<T>(&self, poll: Poll<T>) -> Poll<T> {
        if poll.is_pending() {
            self.flow.wait();
        }
        poll
    }
}

impl Store {
    pub(crate) fn new(client: Incoming, limit: u64, upload: Rc<Upload>) -> Self {
        let hint = client.size_hint();
        Self {
            client: RefCell::new(client),
            over: Cell::new(hint.lower() > limit),
            hint,
            limit,
            kept: RefCell::default(),
            size: Cell::new(0),
            upload,
        }
    }

    pub(crate) fn reader(self: &Rc<Self>) -> Reader {
        Reader {
            store: Rc::clone(self),
            at: 0,
        }
    }

    /// Memory that it takes at most while it waits.
    pub(crate) fn memory(&self) -> u64 {
        self.hint.lower().max(self.size.get()).min(self.limit)
    }

    /// Whether all of it is here. A body that may still fit is read to its end first.
    pub(crate) async fn whole(&self) -> bool {
        while !self.upload.ended() {
            if self.over.get() || self.upload.failed() {
                return false;
            }
            if !matches!(poll_fn(|cx| self.poll_client(cx)).await, Some(Ok(_)) | None) {
                return false;
            }
        }
        !self.over.get()
    }

    fn poll_client(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpBodyError>>> {
        loop {
            let frame = Pin::new(&mut *self.client.borrow_mut()).poll_frame(cx);
            let frame = ready!(self.upload.waits(frame));
            let data = match frame {
                // Trailers are hop-by-hop unless both sides agreed, which nobody did.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    self.upload.failed.set(true);
                    return Poll::Ready(Some(Err(UpBodyError::Client(error))));
                }
                None => {
                    self.upload.came(0, true);
                    return Poll::Ready(None);
                }
            };
            self.upload.record(&data);
            let size = self.size.get().saturating_add(data.len() as u64);
            self.size.set(size);
            if size > self.limit {
                self.over.set(true);
                self.kept.borrow_mut().clear();
            }
            if !self.over.get() {
                self.kept.borrow_mut().push(data.clone());
            }
            let last = self.client.borrow().is_end_stream();
            self.upload.came(data.len(), last);
            return Poll::Ready(Some(Ok(data)));
        }
    }
}

impl Reader {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpBodyError>>> {
        let kept = self.store.kept.borrow().get(self.at).cloned();
        if let Some(data) = kept {
            self.at += 1;
            return Poll::Ready(Some(Ok(data)));
        }
        if self.store.over.get() && self.at == 0 && self.store.size.get() > 0 {
            return Poll::Ready(Some(Err(UpBodyError::NotKept)));
        }
        if self.store.upload.ended() {
            return Poll::Ready(None);
        }
        let data = ready!(self.store.poll_client(cx));
        if matches!(data, Some(Ok(_))) {
            self.at += 1;
        }
        Poll::Ready(data)
    }
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = UpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpBodyError>>> {
        match &mut *self {
            UpBody::Empty => Poll::Ready(None),
            UpBody::Through(client, upload) => loop {
                let frame = Pin::new(&mut *client).poll_frame(cx);
                match ready!(upload.waits(frame)) {
                    Some(Ok(frame)) if frame.is_data() => {
                        let bytes = frame.data_ref().map_or(0, Bytes::len);
                        upload.record(frame.data_ref().map_or(&[], |data| data));
                        upload.came(bytes, client.is_end_stream());
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        upload.failed.set(true);
                        return Poll::Ready(Some(Err(UpBodyError::Client(error))));
                    }
                    None => {
                        upload.came(0, true);
                        return Poll::Ready(None);
                    }
                }
            },
            UpBody::Kept(reader) => reader
                .poll_data(cx)
                .map(|it| it.map(|it| it.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpBody::Empty => true,
            UpBody::Through(client, _) => client.is_end_stream(),
            UpBody::Kept(reader) => {
                reader.store.upload.ended() && reader.at >= reader.store.kept.borrow().len()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            UpBody::Empty => SizeHint::with_exact(0),
            UpBody::Through(client, _) => client.size_hint(),
            // Asked once, before the first byte.
            UpBody::Kept(reader) => reader.store.hint,
        }
    }
}

/// An answer's body as the client gets it.
#[derive(Debug)]
pub(crate) enum OutBody {
    /// There is none.
    Empty,
    /// Said by the proxy itself.
    Own(Bytes),
    /// From an instance.
    Passed(Passed),
}

/// An answer's body from an instance, and what is in flight with it.
#[derive(Debug)]
pub(crate) struct Passed {
    body: Incoming,
    run: Run,
    sender: Option<Sender>,
    ended: bool,
    busy: Busy,
    /// When an instance that stands still ends its stream; only where streams share a
    /// connection, which is looked after as a whole otherwise.
    stall: Option<Stall>,
}

/// The longest an instance may stand still.
#[derive(Debug)]
struct Stall {
    limit: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutBodyError {
    #[error(transparent)]
    Instance(#[from] hyper::Error),
    #[error("the instance stood still")]
    Stalled,
}

impl Stall {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl OutBody {
    /// Passes an answer's body on. `stall`: the longest its instance may stand still, where the
    /// connection is not looked after for that.
    pub(crate) fn passed(
        body: Incoming,
        run: Run,
        sender: Sender,
        busy: Busy,
        stall: Option<Duration>,
    ) -> Self {
        if body.is_end_stream() {
            if let Some(taken) = &run.taken {
                taken.ended();
            }
            run.lane.check_in(sender);
            return OutBody::Empty;
        }
        OutBody::Passed(Passed {
            body,
            run,
            sender: Some(sender),
            ended: false,
            busy,
            stall: stall.map(|limit| Stall { limit, alarm: None }),
        })
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if (self.ended || self.body.is_end_stream())
            && let Some(sender) = self.sender.take()
        {
            if let Some(taken) = &self.run.taken {
                taken.ended();
            }
            self.run.lane.check_in(sender);
        } else if self.busy.is_stalled() {
            self.run.broke_off();
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = OutBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutBodyError>>> {
        match &mut *self {
            OutBody::Empty => Poll::Ready(None),
            OutBody::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = OutBody::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            OutBody::Passed(passed) => loop {
                let streamed = passed.busy.is_stream();
                if streamed {
                    // It is asked for more, so what was given to the client has been taken.
                    passed.busy.out().rest();
                }
                let Poll::Ready(frame) = Pin::new(&mut passed.body).poll_frame(cx) else {
                    if passed.stall.as_mut().is_some_and(|it| it.is_over(cx)) {
                        passed.run.broke_off();
                        return Poll::Ready(Some(Err(OutBodyError::Stalled)));
                    }
                    if !streamed {
                        passed.busy.flow().wait();
                    }
                    return Poll::Pending;
                };
                if let Some(stall) = &mut passed.stall {
                    stall.alarm = None;
                }
                match frame {
                    Some(Ok(frame)) if frame.is_data() => {
                        if let (Some(taken), Some(data)) = (&passed.run.taken, frame.data_ref()) {
                            taken.body(data);
                        }
                        if streamed {
                            passed.busy.out().wait();
                        } else {
                            passed.busy.flow().add(1);
                        }
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    // HTTP/1.1 takes trailers only from who has announced them.
                    Some(Ok(frame)) if streamed => return Poll::Ready(Some(Ok(frame))),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        passed.run.broke_off();
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    None => {
                        passed.ended = true;
                        return Poll::Ready(None);
                    }
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            OutBody::Empty => true,
            OutBody::Own(bytes) => bytes.is_empty(),
            OutBody::Passed(passed) => passed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Empty => SizeHint::with_exact(0),
            OutBody::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            OutBody::Passed(passed) => passed.body.size_hint(),
        }
    }
}
