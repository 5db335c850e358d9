//! The supervisor's socket, blocking. The supervisor may be away (it is being restarted): a
//! command is sent again with the same operation id until its budget ends, and the supervisor
//! remembers which it has carried out.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use grace_model::command::{Command, Outcome};
use grace_model::id::OpId;
use grace_model::ipc::{Answer, FleetStatus, Request};

/// Between two tries to reach a supervisor that is away.
const AGAIN: Duration = Duration::from_millis(50);
/// A status that takes longer than this is none: the supervisor is stopped or gone.
const STATUS_LIMIT: Duration = Duration::from_secs(2);
/// Longest line: 256 instances in a status are about 100 KB.
const LINE_MAX: u64 = 16 << 20;

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// Nobody answered within the budget.
    #[error("the supervisor gave no answer within {ms} ms: {cause}")]
    Away {
        /// The budget.
        ms: u128,
        /// What was tried last.
        cause: String,
    },
    /// It did not understand.
    #[error("the supervisor refused the request: {0}")]
    Refused(String),
}

/// The way to the supervisor.
pub struct Supervisor {
    path: PathBuf,
    /// One connection for status, kept open; commands have one each, because their answers may
    /// be long in coming.
    status: Mutex<Option<Line>>,
}

struct Line {
    reader: BufReader<UnixStream>,
}

impl Supervisor {
    /// The supervisor behind this socket; it need not be there yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            status: Mutex::new(None),
        }
    }

    /// All that it knows.
    ///
    /// # Errors
    /// [`Unreached`].
    pub fn status(&self) -> Result<FleetStatus, Unreached> {
        let mut kept = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let end = Instant::now() + STATUS_LIMIT;
        let asked = |line: &mut Line| -> std::io::Result<FleetStatus> {
            line.send(&Request::Status, end)?;
            loop {
                match line.receive(end)? {
                    Answer::Status(status) => return Ok(status),
                    Answer::Error { message } => return Err(std::io::Error::other(message)),
                    _ => {}
                }
            }
        };
        // A kept connection may be that of a supervisor that died since: try once more anew.
        if let Some(line) = kept.as_mut()
            && let Ok(status) = asked(line)
        {
            return Ok(status);
        }
        *kept = None;
        let away = |e: std::io::Error| Unreached::Away {
            ms: STATUS_LIMIT.as_millis(),
            cause: e.to_string(),
        };
        let mut line = Line::open(&self.path).map_err(away)?;
        let status = asked(&mut line).map_err(away)?;
        *kept = Some(line);
        Ok(status)
    }

    /// Has a command carried out, and waits for its outcome.
    ///
    /// # Errors
    /// [`Unreached`]. The command may have been carried out all the same; the same operation id
    /// again tells.
    pub fn command(
        &self,
        op: &OpId,
        command: &Command,
        budget: Duration,
    ) -> Result<Outcome, Unreached> {
        let end = Instant::now() + budget;
        let request = Request::Command {
            op: op.clone(),
            command: command.clone(),
        };
        loop {
            let cause = match self.ask_once(op, &request, end) {
                Ok(Ok(outcome)) => return Ok(outcome),
                Ok(Err(message)) => return Err(Unreached::Refused(message)),
                Err(e) => e.to_string(),
            };
            if Instant::now() + AGAIN >= end {
                return Err(Unreached::Away {
                    ms: budget.as_millis(),
                    cause,
                });
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn ask_once(
        &self,
        op: &OpId,
        request: &Request,
        end: Instant,
    ) -> std::io::Result<Result<Outcome, String>> {
        let mut line = Line::open(&self.path)?;
        line.send(request, end)?;
        loop {
            match line.receive(end)? {
                Answer::Reply {
                    op: answered,
                    outcome,
                } if answered == *op => {
                    return Ok(Ok(outcome));
                }
                Answer::Error { message } => return Ok(Err(message)),
                _ => {}
            }
        }
    }
}

impl Line {
    fn open(path: &std::path::Path) -> std::io::Result<Self> {
        Ok(Self {
            reader: BufReader::new(UnixStream::connect(path)?),
        })
    }

    fn send(&mut self, request: &Request, end: Instant) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let mut stream = self.reader.get_ref();
        stream.set_write_timeout(Some(left(end)?))?;
        stream.write_all(&line)
    }

    fn receive(&mut self, end: Instant) -> std::io::Result<Answer> {
        use std::io::Read;
        self.reader.get_ref().set_read_timeout(Some(left(end)?))?;
        let mut line = Vec::new();
        if (&mut self.reader)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

/// What is left until `end`; a timeout of zero would mean for ever.
fn left(end: Instant) -> std::io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}
