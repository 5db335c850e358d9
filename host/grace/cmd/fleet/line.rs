//! One operation asked of the supervisor: sent with an id that it remembers, so that asking
//! again after its death has no second effect. Waits for the outcome.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use grace_model::command::{Command, Outcome};
use grace_model::id::OpId;
use grace_model::ipc::{Answer, Request};
use grace_model::layout::Layout;

use crate::problem::Problem;
use crate::supervisor::{Alive, PATIENCE, not_up};

/// Between two tries to reach a supervisor that is being restarted.
const PAUSE: Duration = Duration::from_millis(50);

/// An id that no other command has.
fn new_op() -> OpId {
    // The standard library's own randomness: journals remember ids longer than pids last.
    let random = RandomState::new().build_hasher().finish();
    OpId::from(format!("cli/{}/{random:x}", std::process::id()))
}

/// Has it done; what came of it within `longest`.
pub fn ask(layout: &Layout, command: Command, longest: Duration) -> Result<Outcome, Problem> {
    let op = new_op();
    let request = Request::Command {
        op: op.clone(),
        command,
    };
    let mut line = serde_json::to_vec(&request)
        .map_err(|error| Problem::new(format!("cannot write JSON: {error}"), ""))?;
    line.push(b'\n');
    let end = Instant::now() + longest;
    let mut unreached = Instant::now();
    loop {
        let error = match once(layout, &op, &line, end) {
            Ok(outcome) => return Ok(outcome),
            Err(Broken::Said(message)) => {
                return Err(Problem::new(
                    format!("the supervisor does not understand this command: {message}"),
                    "it is of another version: `grace down`, then `grace up`",
                ));
            }
            Err(Broken::Line { heard, error }) => {
                if heard {
                    unreached = Instant::now();
                }
                error
            }
        };
        if !Alive::look(layout).any() {
            return Err(not_up(layout));
        }
        if Instant::now() >= end {
            return Err(Problem::new(
                format!("not done within {} s", longest.as_secs()),
                "it goes on; see `grace fleet` and `grace logs`, or wait longer with `--timeout`",
            ));
        }
        if unreached.elapsed() > PATIENCE {
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

/// Why there is no outcome yet.
enum Broken {
    /// The supervisor said that it does not understand.
    Said(String),
    /// The connection ended. `heard`: the supervisor had taken the command.
    Line { heard: bool, error: io::Error },
}

fn once(layout: &Layout, op: &OpId, line: &[u8], end: Instant) -> Result<Outcome, Broken> {
    let lost = |heard: bool| move |error: io::Error| Broken::Line { heard, error };
    let mut stream = UnixStream::connect(layout.supervisor_socket()).map_err(lost(false))?;
    stream.write_all(line).map_err(lost(false))?;
    let left = end.saturating_duration_since(Instant::now());
    stream
        .set_read_timeout(Some(left.max(PAUSE)))
        .map_err(lost(false))?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut text = String::new();
        if lines.read_line(&mut text).map_err(lost(true))? == 0 {
            return Err(lost(true)(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        match serde_json::from_str(&text) {
            Ok(Answer::Reply { op: of, outcome }) if of == *op => return Ok(outcome),
            Ok(Answer::Error { message }) => return Err(Broken::Said(message)),
            Ok(_) => {}
            Err(error) => return Err(Broken::Said(error.to_string())),
        }
    }
}
