//! What a client speaks: PROXY header, TLS, HTTP/1.1 or HTTP/2, or none of it. One connection
//! from its first byte to its last; requests on it go to `forward`.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use grace_model::config::Protocol;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::client::{Client, ClientIo};
use crate::forward::forward;
use crate::forwarded::ClientHead;
use crate::greeting::{self, Ends};
use crate::socket::{Socket, Stream};
use crate::tcp;
use crate::wire::Here;

/// Largest head of a request; more is 431.
const HEAD_MAX: usize = 64 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 256;
/// How HTTP/2 begins in the clear (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read of a connection before it is known what it speaks: a usual head.
const FIRST: usize = 2_048;

/// The server's side of HTTP.
#[derive(Debug)]
pub(crate) struct Speech {
    one: http1::Builder,
    two: http2::Builder<Here>,
}

impl Speech {
    pub(crate) fn new() -> Self {
        let mut one = http1::Builder::new();
        // Slow heads are seen by who looks after the connections, without a timer for each.
        one.max_buf_size(HEAD_MAX)
            .max_header_size(HEAD_MAX)
            .header_read_timeout(None);
        let mut two = http2::Builder::new(Here);
        two.max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX));
        Self { one, two }
    }

    /// Speaks with a client as its service says, until it has had enough.
    pub(crate) async fn speak(
        &self,
        client: Rc<Client>,
        stream: TcpStream,
        mut ends: Ends,
    ) -> io::Result<()> {
        let service = client.settled().await;
        let mut stream = Stream::Tcp(stream);
        if service.front.proxy_in {
            match greeting::read(&mut stream).await {
                Ok(told) => ends = told.unwrap_or(ends),
                Err(error) => {
                    let core = &client.hub.core;
                    if let Some(cells) = core.shared.threads.get(core.thread) {
                        cells.refused.bump();
                    }
                    tracing::debug!(client = %ends.client, %error, "its PROXY header cannot be read");
                    return Err(error);
                }
            }
        }
        let tls = service.front.tls.is_some();
        let mut two = None;
        if tls {
            // Why there is none was told when it was read.
            let Some(config) = service.tls.as_ref().and_then(|it| it.get()) else {
                return Err(io::Error::other("there is no certificate"));
            };
            let secret = TlsAcceptor::from(config).accept(stream).await?;
            two = Some(secret.get_ref().1.alpn_protocol() == Some(b"h2"));
            stream = Stream::Tls(Box::new(secret));
        }
        if service.front.protocol == Protocol::Tcp {
            tcp::carry(client, stream, ends).await;
            return Ok(());
        }
        // It is the only one who sets it.
        let head = ClientHead::new(ends.client.ip(), ends.server, tls, &service.front);
        let _ = client.head.set(head);
        let (ahead, two) = match two {
            Some(two) => (Bytes::new(), two),
            None => first(&mut stream).await?,
        };
        let socket = Socket::with(stream, ahead);
        if two {
            self.serve_two(client, socket).await
        } else {
            self.serve_one(client, socket).await
        }
    }

    async fn serve_one(&self, client: Rc<Client>, socket: Socket) -> io::Result<()> {
        let io = TokioIo::new(ClientIo::new(socket, Arc::clone(&client.verdict)));
        let service = service_fn(move |request| {
            let client = Rc::clone(&client);
            async move { Ok::<_, Infallible>(forward(client, request).await) }
        });
        let connection = self.one.serve_connection(io, service).with_upgrades();
        connection.await.map_err(io::Error::other)
    }

    async fn serve_two(&self, client: Rc<Client>, socket: Socket) -> io::Result<()> {
        client.verdict.frames();
        let io = TokioIo::new(ClientIo::unscanned(socket, Arc::clone(&client.verdict)));
        let asking = Rc::clone(&client);
        let service = service_fn(move |request| {
            let stream = Client::stream(&asking);
            async move { Ok::<_, Infallible>(forward(stream, request).await) }
        });
        let mut connection = pin!(self.two.serve_connection(io, service));
        let shared = Arc::clone(&client.hub.core.shared);
        let mut wake = shared.wake.subscribe();
        while !shared.closing() {
            tokio::select! {
                end = connection.as_mut() => return end.map_err(io::Error::other),
                woken = wake.changed() => if woken.is_err() { break },
            }
        }
        // Streams in flight may end; the client opens no more.
        connection.as_mut().graceful_shutdown();
        connection.await.map_err(io::Error::other)
    }
}

/// The first bytes of a connection in the clear, and whether they begin HTTP/2.
async fn first(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Bytes, bool)> {
    let mut bytes = BytesMut::with_capacity(FIRST);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 || !PREFACE.starts_with(&bytes) {
            let two = bytes.starts_with(PREFACE);
            return Ok((bytes.freeze(), two));
        }
        if bytes.len() == PREFACE.len() {
            return Ok((bytes.freeze(), true));
        }
    }
}
