//! A small blocking client of the API for the command line. It waits a while for a healer that
//! is being restarted, so that a question asked in that moment is not answered by an error.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::problem::Problem;
use crate::watch::KEEP_ALIVE;

/// Time for one answer. A dry run of a playbook asks plugins, hence the size.
const ANSWER: Duration = Duration::from_secs(60);
/// Time between two tries to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// A line of a stream longer than this is no line of ours.
const LONGEST_LINE: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the healer does not answer on {}: {source}", path.display())]
    Unreachable {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answered that it will not.
    #[error("{}", problem.error)]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        problem: Problem,
    },
    /// The answer broke off or made no sense.
    #[error("no usable answer from {}: {why}", path.display())]
    Broken {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl ClientError {
    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            ClientError::Unreachable { .. } => {
                "is the host up? `grace status` says so, `grace up` starts it"
            }
            ClientError::Refused { problem, .. } => &problem.remedy,
            ClientError::Broken { .. } => "try again; see logs/grace.log in the state directory",
        }
    }

    /// Whether the healer may be there in a moment.
    fn passes(&self) -> bool {
        match self {
            ClientError::Unreachable { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
            ),
            ClientError::Broken { .. } => true,
            ClientError::Refused { status, .. } => *status == 503,
        }
    }
}

/// A client of one host.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

impl Client {
    /// For the API on `socket`; waits up to `patience` for it to answer.
    #[must_use]
    pub fn new(socket: &Path, patience: Duration) -> Self {
        Self {
            socket: socket.to_owned(),
            patience,
        }
    }

    /// GET, tried again while the healer is being restarted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let bytes = self.get_bytes(path)?;
        self.read(&bytes)
    }

    /// GET of what is no JSON, as [`Client::get`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.get_bytes(path)?;
        String::from_utf8(bytes.to_vec()).map_err(|error| self.broken(error))
    }

    fn get_bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        let begun = Instant::now();
        loop {
            match self.once(Method::GET, path, Bytes::new()) {
                Err(error) if error.passes() && begun.elapsed() < self.patience => {
                    std::thread::sleep(PAUSE);
                }
                other => return other,
            }
        }
    }

    /// POST. Only the connection is tried again: what was sent may have had its effect.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        let begun = Instant::now();
        loop {
            match self.once(Method::POST, path, Bytes::from(body.to_string())) {
                Err(error @ ClientError::Unreachable { .. })
                    if error.passes() && begun.elapsed() < self.patience =>
                {
                    std::thread::sleep(PAUSE);
                }
                other => return self.read(&other?),
            }
        }
    }

    /// Reads a stream of server-sent events until `on` breaks or the stream ends. `on` gets the
    /// number of an event, if it has one, and its document.
    ///
    /// # Errors
    /// [`ClientError`]; a stream that was silent for too long is broken.
    pub fn watch(
        &self,
        path: &str,
        on: &mut dyn FnMut(Option<u64>, Value) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        self.block_on(async {
            let mut response = self.send(Method::GET, path, Bytes::new()).await?;
            let mut line = Vec::new();
            let mut number = None;
            loop {
                let frame = tokio::time::timeout(3 * KEEP_ALIVE, response.body_mut().frame())
                    .await
                    .map_err(|_| self.broken("the stream is silent"))?;
                let Some(frame) = frame else { return Ok(()) };
                let frame = frame.map_err(|error| self.broken(error))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                for byte in data {
                    if byte != b'\n' {
                        line.push(byte);
                        if line.len() > LONGEST_LINE {
                            return Err(self.broken("a line without an end"));
                        }
                        continue;
                    }
                    if let Some(id) = line.strip_prefix(b"id: ") {
                        number = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
                    }
                    if let Some(json) = line.strip_prefix(b"data: ") {
                        let value =
                            serde_json::from_slice(json).map_err(|error| self.broken(error))?;
                        if on(number, value).is_break() {
                            return Ok(());
                        }
                    }
                    line.clear();
                }
            }
        })
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|error| self.broken(error))
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        ClientError::Broken {
            path: self.socket.clone(),
            why: why.to_string(),
        }
    }

    fn once(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        self.block_on(async {
            let work = async {
                let response = self.send(method, path, body).await?;
                let collected = response.into_body().collect().await;
                collected
                    .map(|body| body.to_bytes())
                    .map_err(|error| self.broken(error))
            };
            tokio::time::timeout(ANSWER, work)
                .await
                .map_err(|_| self.broken(format!("none within {} s", ANSWER.as_secs())))?
        })
    }

    /// Sends, and turns a refusal into an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut sender = self.connect().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "grace")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(error))?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| self.broken(error))?;
        let problem = serde_json::from_slice(&body.to_bytes())
            .map_err(|_| self.broken(format!("status {status} without a reason")))?;
        Err(ClientError::Refused { status, problem })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Unreachable {
                    path: self.socket.clone(),
                    source,
                })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        // Ends by itself when the sender and the body are dropped.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.broken(error))?
            .block_on(work)
    }
}
