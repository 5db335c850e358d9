//! The supervisor's socket as the command line uses it: ask for the status, end everything. It
//! works while the healer is away; it never keeps the supervisor waiting.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use grace_model::ipc::{Answer, FleetStatus, Request};
use grace_model::layout::Layout;
use grace_os::lock;

use crate::problem::Problem;

/// How long a supervisor that is being restarted is waited for.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Time for one answer; the supervisor answers from memory.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A connection to a living supervisor.
#[derive(Debug)]
pub struct Line {
    reader: BufReader<UnixStream>,
}

impl Line {
    /// Connects; does not wait.
    pub fn connect(layout: &Layout) -> io::Result<Self> {
        let stream = UnixStream::connect(layout.supervisor_socket())?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// All that it knows.
    pub fn status(&mut self) -> io::Result<FleetStatus> {
        self.send(&Request::Status)?;
        loop {
            match self.receive()? {
                Answer::Status(status) => return Ok(status),
                Answer::Error { message } => return Err(io::Error::other(message)),
                _ => {}
            }
        }
    }

    /// What its memory holds of an instance's output that is in no file: how many bytes, and the
    /// newest of them. None when there is nothing of the kind.
    pub fn unsaved(&mut self, instance: &str) -> io::Result<Option<(u64, String)>> {
        self.send(&Request::Output {
            instance: instance.into(),
        })?;
        loop {
            match self.receive()? {
                Answer::Output { unsaved: 0, .. } => return Ok(None),
                Answer::Output { text, unsaved, .. } => {
                    let held = usize::try_from(unsaved).unwrap_or(usize::MAX);
                    let from = text.len().saturating_sub(held);
                    let bytes = text.as_bytes().get(from..).unwrap_or_default();
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    return Ok(Some((unsaved, text)));
                }
                Answer::Error { message } => return Err(io::Error::other(message)),
                _ => {}
            }
        }
    }

    /// Asks it to end everything; the answer is that the connection ends, within `longest`.
    pub fn shutdown(mut self, longest: Duration) -> io::Result<()> {
        self.send(&Request::Shutdown)?;
        let end = Instant::now() + longest;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.reader.get_ref().set_read_timeout(Some(left))?;
            match self.receive() {
                Ok(Answer::Error { message }) => return Err(io::Error::other(message)),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut text = serde_json::to_string(request)?;
        text.push('\n');
        self.reader.get_mut().write_all(text.as_bytes())
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        serde_json::from_str(&text).map_err(io::Error::other)
    }
}

/// Who holds the locks of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// The keeper's pid.
    pub keeper: Option<u32>,
    /// The supervisor's pid.
    pub supervisor: Option<u32>,
}

impl Alive {
    /// Looks at the locks, which no dead process holds.
    pub fn look(layout: &Layout) -> Self {
        Self {
            keeper: lock::holder(&layout.keeper_lock()),
            supervisor: lock::holder(&layout.supervisor_lock()),
        }
    }

    /// Whether one of the two can bring back the other.
    pub fn any(self) -> bool {
        self.keeper.is_some() || self.supervisor.is_some()
    }
}

/// The status, from a supervisor that may be just being restarted.
pub fn status(layout: &Layout) -> Result<FleetStatus, Problem> {
    let begun = Instant::now();
    loop {
        let alive = Alive::look(layout);
        let error = match Line::connect(layout).and_then(|mut line| line.status()) {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        if !alive.any() && !Alive::look(layout).any() {
            return Err(not_up(layout));
        }
        if matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) {
            let pid = alive
                .supervisor
                .map_or("unknown".to_owned(), |pid| pid.to_string());
            return Err(Problem::new(
                format!(
                    "the supervisor (pid {pid}) does not answer within {} s",
                    ANSWER.as_secs()
                ),
                format!(
                    "is it stopped? `kill -CONT {pid}` wakes it, `kill -9 {pid}` has it replaced"
                ),
            ));
        }
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Err(Problem::new(
                format!("{}: {error}", layout.supervisor_socket().display()),
                "ask as the user who started the host, or as root",
            ));
        }
        if begun.elapsed() > PATIENCE {
            return Err(Problem::new(
                format!(
                    "the supervisor cannot be reached on {}: {error}",
                    layout.supervisor_socket().display()
                ),
                format!("see {}", layout.logs().join("grace.log").display()),
            ));
        }
        std::thread::sleep(PAUSE);
    }
}

/// That no host runs here.
pub fn not_up(layout: &Layout) -> Problem {
    Problem::new(
        format!("no host is up in {}", layout.root().display()),
        "`grace up` starts it; `--state DIR` or `--config FILE` names another",
    )
}
