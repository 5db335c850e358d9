//! A copy, from inside its namespaces: the first process there. It starts the service over a copy
//! of its data, waits until it is ready, sends what it is told, and says what it saw. When it
//! ends, the kernel ends all that is left in here.

mod http;
mod launch;
mod ready;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use grace_capsule::{Observed, Seen};
use grace_model::instance::ExitCause;

use crate::job::Job;

use launch::Running;

/// A process that is killed by what it was asked may need a moment to end.
const SETTLE: Duration = Duration::from_millis(250);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Does the job on standard input, and tells what was seen on standard output.
///
/// # Errors
/// When either cannot be read or written; nobody is told more than that.
pub fn main() -> std::io::Result<()> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text)?;
    let observed = observe(&job);
    let text = serde_json::to_vec(&observed)?;
    let mut out = std::io::stdout();
    out.write_all(&text)?;
    out.flush()
}

fn observe(job: &Job) -> Observed {
    let not_ready = |why: String| Observed::NotReady { why };
    let mut running = match launch::launch(job) {
        Ok(running) => running,
        Err(why) => return not_ready(why),
    };
    if let Err(why) = ready::wait(job, &mut running) {
        return not_ready(why);
    }
    let mut seen = Seen::default();
    let patience = Duration::from_millis(job.answer_ms);
    for (at, request) in job.requests.iter().enumerate() {
        let status = http::send(running.port, request, patience);
        if let Some(cause) = ended(&mut running, status.is_none()) {
            seen.exit = Some(cause);
            seen.ended_at = Some(at as u64);
            break;
        }
        if status.is_none() {
            seen.unanswered += 1;
        }
        seen.statuses.push(status.unwrap_or(0));
    }
    if seen.exit.is_none() {
        seen.exit = ended(&mut running, true);
    }
    seen.output = running.output();
    Observed::Ran(seen)
}

/// Whether its process has ended; `patient`: there is reason to think that it is about to.
fn ended(running: &mut Running, patient: bool) -> Option<ExitCause> {
    let until = Instant::now() + if patient { SETTLE } else { Duration::ZERO };
    loop {
        if let Some(cause) = running.ended() {
            return Some(cause);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}
