//! The life of one instance as a pure machine: `step(event, now) -> actions`. It decides when a
//! process is started, ended, restarted or given up. It must not know processes, sockets or
//! clocks: `now` is any millisecond count that never goes back and survives the one who asks.
//!
//! Promises, each with a property test: never more reflex restarts than a budget allows in any
//! window; never a second process before the first is known to be gone; it comes to rest when
//! faults stop; every operation ends.

mod asks;
mod budget;
mod ending;
mod machine;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use grace_model::command::{Outcome, StopMode};
use grace_model::config::{Ready, Restart, Service};
use grace_model::event::RestartBy;
use grace_model::id::OpId;
use grace_model::instance::{ExitCause, State};
use serde::{Deserialize, Serialize};

pub use budget::Budget;

/// Time that a proxy gets to close connections before a process is killed. It closes at once;
/// a longer wait only says that the proxy itself is sick.
pub const FENCE_MS: u64 = 1_000;

/// Time from SIGKILL to giving up waiting for the death. Only a process in an uninterruptible
/// system call takes longer than a moment.
pub const KILL_CONFIRM_MS: u64 = 5_000;

/// Time from SIGCONT to the kernel saying that the process runs.
pub const RESUME_MS: u64 = 1_000;

/// Operations that may wait for another of the same instance. A playbook has one at a time.
pub const WAITING_MAX: usize = 16;

/// What the service's declaration says about the life of its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The reflex.
    pub restart: Restart,
    /// Ready as soon as it runs.
    pub ready_at_once: bool,
    /// Time from start to ready.
    pub start_timeout_ms: u64,
    /// Time from SIGTERM to SIGKILL.
    pub stop_timeout_ms: u64,
    /// Time that a drain waits.
    pub drain_timeout_ms: u64,
    /// A fleet of roles decides whether a dead process is followed by another; the budget still
    /// decides when.
    #[serde(default)]
    pub led: bool,
}

impl Policy {
    /// What a service declares.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self {
            restart: service.restart.clone(),
            ready_at_once: service.ready == Ready::Process,
            start_timeout_ms: service.start_timeout_ms,
            stop_timeout_ms: service.stop_timeout_ms,
            drain_timeout_ms: service.drain_timeout_ms,
            led: service.roles.is_some(),
        }
    }
}

/// What an operation asks of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// End the process and start a new one. Ends every hold.
    Restart(StopMode),
    /// Out of rotation, then SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// No new requests; done when those in flight have ended.
    Drain,
    /// Out of rotation and kept so.
    Quarantine,
    /// End a drain or a quarantine.
    Release,
}

/// What happened to the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is wanted.
    Start,
    /// It is not wanted any more.
    Retire(StopMode),
    /// It must never answer again: the proxy closes its connections, then SIGKILL. Counts as a
    /// death of its own.
    Fence,
    /// Its service has another version: end the process and start one of that. No restart of
    /// the reflex, so no budget pays for it.
    Renew,
    /// The process that was asked for runs.
    Spawned,
    /// It could not be started.
    SpawnFailed {
        /// Why, for a person.
        reason: String,
    },
    /// Its readiness or health was told.
    Health {
        /// Of which process.
        generation: u64,
        /// Whether it is ready for traffic.
        ok: bool,
        /// Why not.
        reason: String,
    },
    /// The kernel says that its process is stopped, or runs again.
    Stopped(bool),
    /// Its heartbeat is late, or came again.
    HeartbeatLate(bool),
    /// No request is in flight on it.
    Drained {
        /// Of which process.
        generation: u64,
    },
    /// Its process is gone, with every descendant.
    Exited {
        /// How.
        cause: ExitCause,
    },
    /// An operation.
    Ask {
        /// Its id.
        op: OpId,
        /// What is asked.
        ask: Ask,
    },
    /// Whoever judges did not run for a while: deadlines of others move.
    Stalled {
        /// For this long.
        late_ms: u64,
    },
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a process; answer with `Spawned` or `SpawnFailed`.
    Spawn {
        /// Its generation.
        generation: u64,
    },
    /// Send a signal to the process.
    Signal(Signal),
    /// Tell of a change.
    Changed {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why.
        reason: String,
    },
    /// Tell of a restart to come.
    Planned {
        /// Who wants it.
        by: RestartBy,
        /// When.
        delay_ms: u64,
    },
    /// Tell of a budget used up.
    Exhausted {
        /// Restarts made.
        restarts: u32,
        /// In this time.
        window_ms: u64,
    },
    /// An operation has ended.
    Finish {
        /// Which.
        op: OpId,
        /// What came of it.
        outcome: Outcome,
    },
}

/// Signals that the machine sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// What a new supervisor found of an instance's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It runs.
    Running {
        /// Whether it is stopped.
        stopped: bool,
    },
    /// It ended meanwhile.
    Gone(ExitCause),
    /// There is none, and nothing says that there was.
    Nothing,
}

/// The process side of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// No process.
    Down {
        /// When to start one.
        retry_at: Option<u64>,
        /// Given up.
        failed: bool,
    },
    /// A start was asked for.
    Spawning,
    /// A process runs.
    Up(Up),
}

/// What is known of a running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Up {
    /// Ready until then, or the start has failed. None: it was ready.
    start_by: Option<u64>,
    /// The last verdict.
    ready: bool,
    /// Whether it ever was ready.
    was_ready: bool,
    /// Why it is not.
    reason: String,
    /// The kernel says it is stopped.
    stopped: bool,
    /// Its heartbeat is late.
    late: bool,
    /// Out of rotation, and nothing is in flight since.
    idle: bool,
    /// In good health without a break since then.
    healthy_since: Option<u64>,
    /// On its way out.
    ending: Option<Ending>,
}

/// A process on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ending {
    step: EndStep,
    next: Next,
}

/// How far a process is on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EndStep {
    /// Waiting for the proxy.
    Traffic { mode: StopMode, until: u64 },
    /// SIGTERM was sent.
    Term { until: u64 },
    /// SIGKILL was sent. None: waiting for ever, the operation was given up.
    Kill { until: Option<u64> },
}

/// What follows the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Next {
    /// A new process: an operation.
    Restart,
    /// The reflex, as for a death of its own: the start has failed.
    Reflex,
    /// Nothing.
    Rest,
}

/// What keeps a running process from traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Hold {
    /// Nothing.
    Free,
    /// A drain; the operation waits until then.
    Draining(Option<u64>),
    /// A quarantine.
    Quarantined,
    /// A pause that waits for requests in flight until then.
    Pausing(u64),
    /// A pause.
    Paused,
    /// SIGCONT was sent; the kernel has not said so yet.
    Resuming(u64),
}

/// An operation that was taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    op: OpId,
    ask: Ask,
}

/// The life of one instance. Serialisable, so that a new supervisor goes on where the old one
/// was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    policy: Policy,
    phase: Phase,
    hold: Hold,
    generation: u64,
    /// Retired while a start was under way: end it as soon as it is there.
    retired: Option<StopMode>,
    external: Budget,
    own: Budget,
    backoff_ms: u64,
    /// The restart that is planned counts in this budget.
    charge: Option<Charge>,
    /// A led process died of this; the budget pays when it is wanted again.
    #[serde(default)]
    owed: Option<Charge>,
    /// Deaths and failed starts that nobody asked for, ever.
    #[serde(default)]
    deaths: u32,
    current: Option<Pending>,
    waiting: VecDeque<Pending>,
    /// Why there is no process, or the last thing that went wrong.
    reason: String,
    told: State,
}

/// Which budget a restart counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Charge {
    External,
    Own,
}
