//! What became of a process: asked when an instance does not answer, never on the way of a
//! healthy request. It reads `/proc` and waits a moment for the supervisor's word; it decides
//! nothing about requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::event::ProcessState;
use grace_model::instance::{ExitCause, ProcessId};

use crate::endpoint::Endpoint;
use crate::routes::Shared;

/// The longest wait for the cause of a death (design, section 7).
const CAUSE_WAIT: Duration = Duration::from_millis(50);
/// Time between two own looks while waiting.
const LOOK: Duration = Duration::from_millis(5);
/// The flag of a task on its way out, `PF_EXITING` in the kernel: set before its sockets close,
/// so that a broken connection and a death are never taken for two things.
const EXITING: u64 = 0x4;

/// What became of an endpoint whose connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It lives, or nobody can say that it does not.
    Alive,
    /// Its end says nothing against its requests: killed from outside, or fenced by Grace.
    Outside,
    /// It died of its own, or nobody knows how.
    Own,
}

/// The state of an endpoint's process now.
pub(crate) fn look(end: &Endpoint) -> ProcessState {
    match &end.process {
        Some(id) => grace_os::process::state(id),
        None => ProcessState::Running,
    }
}

/// Why its connection broke; waits for a cause as long as it must, 50 ms at most.
pub(crate) async fn of_broken(end: &Arc<Endpoint>, shared: &Shared) -> Fate {
    if end.fenced() {
        return Fate::Outside;
    }
    let Some(id) = &end.process else {
        return Fate::Alive;
    };
    if !end.dead() && !dying(id) {
        return Fate::Alive;
    }
    let due = Instant::now() + CAUSE_WAIT;
    loop {
        let told = end.told();
        if let Some(cause) = end.cause() {
            return judge(cause);
        }
        let over = Instant::now() >= due;
        // The kernel cannot tell its out-of-memory killer from a kill from outside, so the
        // supervisor's word comes first as long as it can be had.
        if (over || !shared.linked())
            && let cause = grace_os::process::exit_cause(id, end.handle.as_ref())
            && cause != ExitCause::Unknown
        {
            return judge(&cause);
        }
        if over {
            return Fate::Own;
        }
        let _ = tokio::time::timeout(LOOK, told).await;
    }
}

fn judge(cause: &ExitCause) -> Fate {
    if cause.external() {
        Fate::Outside
    } else {
        Fate::Own
    }
}

/// Whether the process is gone or on its way out.
fn dying(id: &ProcessId) -> bool {
    if grace_os::process::state(id) == ProcessState::Gone {
        return true;
    }
    let Ok(stat) = std::fs::read(format!("/proc/{}/stat", id.pid)) else {
        return true;
    };
    let text = String::from_utf8_lossy(&stat);
    // Field 9, counted behind the name, which may hold anything.
    text.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse::<u64>().ok())
        .is_some_and(|flags| flags & EXITING != 0)
}
