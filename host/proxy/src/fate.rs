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
    let begun = Instant::now();
    loop {
        let told = end.told();
        let kernels = || grace_os::process::exit_cause(id, end.handle.as_ref());
        let waited = begun.elapsed();
        if let Some(fate) = decide(end.cause(), shared.linked(), waited, kernels) {
            return fate;
        }
        let _ = tokio::time::timeout(LOOK.min(CAUSE_WAIT.saturating_sub(waited)), told).await;
    }
}

/// The fate of a dead process by what is known after so long a wait; none: wait on.
fn decide(
    told: Option<&ExitCause>,
    linked: bool,
    waited: Duration,
    kernels: impl FnOnce() -> ExitCause,
) -> Option<Fate> {
    if let Some(cause) = told {
        return Some(judge(cause));
    }
    let over = waited >= CAUSE_WAIT;
    // The kernel cannot tell its out-of-memory killer from a kill from outside, so the
    // supervisor's word comes first as long as it can be had.
    if (over || !linked)
        && let cause = kernels()
        && cause != ExitCause::Unknown
    {
        return Some(judge(&cause));
    }
    over.then_some(Fate::Own)
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

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: ExitCause = ExitCause::Signal(9);

    #[test]
    fn the_cause_of_a_death_is_waited_for_fifty_milliseconds_and_no_longer() {
        let before = Duration::from_micros(49_999);
        let at_last = Duration::from_millis(50);
        let unasked = || -> ExitCause { panic!("the supervisor may still tell") };
        assert_eq!(decide(None, true, Duration::ZERO, unasked), None);
        assert_eq!(decide(None, true, before, unasked), None);
        assert_eq!(decide(None, true, at_last, || KILLED), Some(Fate::Outside));
        let unknown = || ExitCause::Unknown;
        assert_eq!(decide(None, false, before, unknown), None);
        for linked in [true, false] {
            assert_eq!(decide(None, linked, at_last, unknown), Some(Fate::Own));
        }
    }

    #[test]
    fn a_word_that_comes_in_time_decides_at_once_and_before_the_kernels() {
        for waited in [Duration::ZERO, Duration::from_secs(1)] {
            let told = Some(&ExitCause::Oom);
            assert_eq!(decide(told, true, waited, || KILLED), Some(Fate::Own));
            let told = Some(&KILLED);
            assert_eq!(decide(told, false, waited, || KILLED), Some(Fate::Outside));
        }
        let alone = decide(None, false, Duration::ZERO, || KILLED);
        assert_eq!(alone, Some(Fate::Outside), "nobody else will tell");
    }
}
