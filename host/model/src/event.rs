//! What processes write to their journals and the healer reads: one enum, tagged, so that a
//! reader of an older version can skip what it does not know.

use serde::{Deserialize, Serialize};

use crate::TimestampMs;
use crate::command::{Command, Outcome};
use crate::id::{InstanceId, OpId, ServiceName};
use crate::instance::{ExitCause, ProcessId, State};
use crate::isolation::Report;

/// One journalled event with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the writer's clock.
    pub at: TimestampMs,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// Which instance and which of its processes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// The instance.
    pub instance: InstanceId,
    /// Its service.
    pub service: ServiceName,
    /// Which process of it.
    pub generation: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A process of Grace began to write this journal.
    Started {
        /// `supervisor`, `proxy`, ...
        process: String,
        /// Its pid.
        pid: u32,
        /// Instances that were found running.
        adopted: u32,
    },
    /// A process of Grace was found dead and started again.
    ProcessRestarted {
        /// `keeper`, `supervisor`, `proxy`, `healer`.
        process: String,
        /// Its new pid.
        pid: u32,
    },
    /// About to fork: written before, so that a crash in between is noticed.
    SpawnIntent {
        /// Which.
        subject: Subject,
        /// Its port, 0 for none.
        port: u16,
    },
    /// An instance's process was started.
    Spawned {
        /// Which.
        subject: Subject,
        /// The process.
        process: ProcessId,
        /// Its port, 0 for none.
        port: u16,
    },
    /// How an instance's process is confined, told once it runs.
    Isolated {
        /// Which.
        subject: Subject,
        /// What was done, and what this machine does not give.
        report: Report,
    },
    /// An instance changed its state.
    StateChanged {
        /// Which.
        subject: Subject,
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why, for a person.
        reason: String,
    },
    /// An instance's process ended.
    Exited {
        /// Which.
        subject: Subject,
        /// Its pid.
        pid: u32,
        /// How.
        cause: ExitCause,
        /// How long it ran.
        uptime_ms: u64,
        /// The last lines it wrote, at most 4 KiB.
        tail: String,
        /// Whether Grace wanted it to end (stop, restart by an operation).
        wanted: bool,
    },
    /// An instance will be started again.
    RestartPlanned {
        /// Which; the generation is the old one's.
        subject: Subject,
        /// By the reflex or by an operation.
        by: RestartBy,
        /// After this long.
        delay_ms: u64,
    },
    /// The reflex has used up a budget; the instance has failed.
    BudgetExhausted {
        /// Which.
        subject: Subject,
        /// Restarts that were made.
        restarts: u32,
        /// In this time.
        window_ms: u64,
    },
    /// An operation was taken up. Written before its first effect.
    OperationBegun {
        /// Its id.
        op: OpId,
        /// What was asked.
        command: Command,
    },
    /// An operation was finished. Its outcome is remembered by its id.
    OperationDone {
        /// Its id.
        op: OpId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The fleet of a service did something that people may want to know: a promotion, a
    /// fence, a ramp that was broken off, a rollout's steps.
    Fleet {
        /// Of which service.
        service: ServiceName,
        /// The instance it is about, if it is about one.
        instance: Option<InstanceId>,
        /// `promoted`, `demoted`, `refilled`, `fencing`, `fenced-at-proxy-only`, `no-standby`,
        /// `gave-up`, `ramp-aborted`, `rollout`.
        kind: String,
        /// The same for a person.
        text: String,
    },
    /// The state of an instance's process as the kernel tells it, when it changes and, while
    /// stopped, every probe interval.
    ProcessState {
        /// Which.
        subject: Subject,
        /// What it is.
        state: ProcessState,
        /// For this long.
        for_ms: u64,
    },
    /// A probe's result: every change, every failure, and one pass in ten.
    Probe {
        /// Which.
        subject: Subject,
        /// Whether it passed.
        ok: bool,
        /// HTTP status, 0 for none.
        status: u16,
        /// How long it took.
        latency_us: u64,
        /// What was wrong; empty when it passed.
        problem: String,
        /// Results of the same kind in a row, with this one.
        consecutive: u32,
        /// How late the probing process itself was.
        judge_late_ms: u64,
    },
    /// A declared heartbeat is late.
    Heartbeat {
        /// Which.
        subject: Subject,
        /// Since the last one.
        age_ms: u64,
        /// What was declared.
        limit_ms: u64,
    },
    /// Traffic of an instance in the last window; absent windows had none.
    Traffic {
        /// Which.
        subject: Subject,
        /// Length of the window.
        window_ms: u64,
        /// Requests given to it.
        requests: u64,
        /// Answers of 500 and above.
        errors: u64,
        /// Requests that it never answered.
        unanswered: u64,
        /// Median time to the first byte of an answer.
        p50_us: u64,
        /// 99th percentile of it.
        p99_us: u64,
        /// Requests in flight at the end of the window.
        inflight: u64,
    },
    /// The load balancer took an instance out of rotation by itself.
    Ejected {
        /// Which.
        subject: Subject,
        /// Why.
        reason: String,
    },
    /// And put it back.
    Returned {
        /// Which.
        subject: Subject,
    },
    /// Requests were in flight when an instance died of its own.
    Suspects {
        /// Which.
        subject: Subject,
        /// Method and path of each, at most 16.
        requests: Vec<String>,
    },
    /// The writer itself did not run for a while: distrust its judgements just before.
    Stalled {
        /// `supervisor`, `proxy`, `healer`.
        process: String,
        /// How late it was.
        late_ms: u64,
    },
}

/// Who wanted a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartBy {
    /// The supervisor's reflex.
    Reflex,
    /// An operation.
    Operation,
}

/// A process as the kernel sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// Runs or sleeps.
    Running,
    /// Stopped by a signal or a tracer (T or t), or frozen.
    Stopped,
    /// Dead or a zombie.
    Gone,
}

impl What {
    /// The instance it is about.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            What::SpawnIntent { subject, .. }
            | What::Spawned { subject, .. }
            | What::Isolated { subject, .. }
            | What::StateChanged { subject, .. }
            | What::Exited { subject, .. }
            | What::RestartPlanned { subject, .. }
            | What::BudgetExhausted { subject, .. }
            | What::ProcessState { subject, .. }
            | What::Probe { subject, .. }
            | What::Heartbeat { subject, .. }
            | What::Traffic { subject, .. }
            | What::Ejected { subject, .. }
            | What::Returned { subject }
            | What::Suspects { subject, .. } => Some(subject),
            What::Started { .. }
            | What::ProcessRestarted { .. }
            | What::Fleet { .. }
            | What::OperationBegun { .. }
            | What::OperationDone { .. }
            | What::Stalled { .. } => None,
        }
    }
}
