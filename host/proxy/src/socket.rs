//! A socket whose small writes go out by one plain send, which may have been read from already,
//! and whose bytes may be counted. A vectored write takes a longer way through the kernel; copying
//! a head and a small body together costs a few cache lines.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::tally::Tally;

/// What is small enough to be copied.
const SMALL: usize = 2_048;

/// A connection of any kind.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// To a socket in the file system.
    Unix(UnixStream),
    /// Over any other, TLS ending here.
    Tls(Box<TlsStream<Stream>>),
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// What was read of it before it came here.
    ahead: Bytes,
    /// Where small writes are put together.
    together: Vec<u8>,
    tally: Option<Arc<Tally>>,
}

impl Socket {
    pub(crate) fn new(stream: Stream) -> Self {
        Self::with(stream, Bytes::new())
    }

    /// One of which so much was read already.
    pub(crate) fn with(stream: Stream, ahead: Bytes) -> Self {
        Self {
            stream,
            ahead,
            together: Vec::new(),
            tally: None,
        }
    }

    /// One whose bytes are counted.
    pub(crate) fn counted(stream: Stream, tally: Arc<Tally>) -> Self {
        Self {
            tally: Some(tally),
            ..Self::new(stream)
        }
    }

    fn wrote(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(tally), Poll::Ready(Ok(count))) = (&self.tally, &done) {
            tally.wrote(*count);
        }
        done
    }
}

macro_rules! each {
    ($self:expr, $name:ident ( $($arg:expr),* )) => {
        match $self {
            Stream::Tcp(stream) => Pin::new(stream).$name($($arg),*),
            Stream::Unix(stream) => Pin::new(stream).$name($($arg),*),
            Stream::Tls(stream) => Pin::new(&mut **stream).$name($($arg),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(self.ahead.get(..count).unwrap_or_default());
            self.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(tally) = &self.tally {
            tally.read(buf.filled().len().saturating_sub(before));
        }
        done
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(done)
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
        let this = &mut *self;
        let stream = Pin::new(&mut this.stream);
        let done = if let [only] = bufs {
            stream.poll_write(cx, only)
        } else if bufs.iter().map(|buf| buf.len()).sum::<usize>() > SMALL {
            stream.poll_write_vectored(cx, bufs)
        } else {
            this.together.clear();
            for buf in bufs {
                this.together.extend_from_slice(buf);
            }
            stream.poll_write(cx, &this.together)
        };
        this.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
