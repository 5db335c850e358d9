//! Keep-alive connections and one request on one of them. A request that may have reached the
//! server is never sent again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Longer answers count as failed.
const LONGEST_BODY: usize = 1024 * 1024;

/// The connections to one server.
pub struct Connections {
    host: String,
    port: u16,
    keep: usize,
    idle: RefCell<VecDeque<Connection>>,
    open: Rc<Cell<usize>>,
}

/// One connection; closed when dropped.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
    _place: Place,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Counts a connection from before it is there, so that a burst opens no more than wanted.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get().saturating_add(1));
        Self(Rc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Connections {
    pub fn new(url: &Uri, keep: usize) -> Self {
        Self {
            host: url
                .host()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .to_owned(),
            port: url.port_u16().unwrap_or(80),
            keep,
            idle: RefCell::new(VecDeque::new()),
            open: Rc::new(Cell::new(0)),
        }
    }

    /// Sends one request and reads its answer: good only if it is 200 and has `id` inside.
    pub async fn ask(&self, request: Request<Empty<Bytes>>, id: &str) -> Result<(), String> {
        let mut request = request;
        loop {
            let mut connection = match self.take_idle() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let response = match connection.sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    // The connection had closed while idle: nothing of the request was
                    // written, so this is still its first sending.
                    Some(unsent) => {
                        request = unsent;
                        continue;
                    }
                    None => return Err(format!("no answer: {}", chain(error.error()))),
                },
            };
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_BODY)
                .collect()
                .await
                .map_err(|error| format!("status {status}, then: {error}"))?
                .to_bytes();
            self.put_back(connection).await;
            let text = String::from_utf8_lossy(&body);
            return match (status, text.contains(id)) {
                (StatusCode::OK, true) => Ok(()),
                (StatusCode::OK, false) => Err(format!("another's answer: {}", start_of(&text))),
                _ => Err(format!("status {status}: {}", start_of(&text))),
            };
        }
    }

    /// None: open one, because there are fewer than wanted or all are busy.
    fn take_idle(&self) -> Option<Connection> {
        if self.open.get() < self.keep {
            return None;
        }
        // The longest unused one, so that all are used in turn.
        let mut idle = self.idle.borrow_mut();
        while let Some(connection) = idle.pop_front() {
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Connection, String> {
        let place = Place::take(&self.open);
        let address = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connecting to {}:{}: {error}", self.host, self.port))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("handshake: {}", chain(&error)))?;
        let driver = tokio::task::spawn_local(async move {
            // Its failure is told to whoever waits for an answer on it.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            driver: driver.abort_handle(),
            _place: place,
        })
    }

    async fn put_back(&self, mut connection: Connection) {
        let usable = connection.sender.ready().await.is_ok();
        let mut idle = self.idle.borrow_mut();
        if usable && idle.len() < self.keep {
            idle.push_back(connection);
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn start_of(text: &str) -> String {
    text.chars().take(120).collect()
}
