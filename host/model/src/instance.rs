//! An instance: one process of a service, its role, its state, how it ended.

use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, ServiceName};

/// What an instance is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes traffic.
    Active,
    /// Running standby.
    Hot,
    /// Prepared, not running.
    Warm,
    /// A watchdog copy.
    Sandbox,
}

impl Role {
    /// The word for it, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Active => "active",
            Role::Hot => "hot",
            Role::Warm => "warm",
            Role::Sandbox => "sandbox",
        }
    }
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its process runs or is about to; its readiness has not been seen.
    Starting,
    /// Ready for traffic.
    Ready,
    /// Was ready, and its probe fails now. Its process runs.
    Degraded,
    /// Gets no new requests and ends what it has.
    Draining,
    /// Out of rotation and kept as evidence.
    Quarantined,
    /// Being changed by a playbook.
    Healing,
    /// Out of rotation and SIGSTOPped on purpose.
    Paused,
    /// No process, on purpose.
    Stopped,
    /// No process: the reflex has used up its budget.
    Failed,
}

impl State {
    /// Whether the load balancer may give it new requests.
    #[must_use]
    pub fn takes_traffic(self) -> bool {
        matches!(self, State::Ready)
    }

    /// The word for it, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::Draining => "draining",
            State::Quarantined => "quarantined",
            State::Healing => "healing",
            State::Paused => "paused",
            State::Stopped => "stopped",
            State::Failed => "failed",
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "how", content = "number")]
pub enum ExitCause {
    /// By a signal that was not the out-of-memory killer's.
    Signal(i32),
    /// By itself, with this code.
    Code(i32),
    /// By the out-of-memory killer.
    Oom,
    /// Nobody could say. Counts as suspect.
    Unknown,
}

impl ExitCause {
    /// Whether the death came from outside: SIGKILL or SIGTERM without an out-of-memory
    /// kill. Such a death says nothing against the requests that were in flight.
    #[must_use]
    pub fn external(&self) -> bool {
        matches!(self, ExitCause::Signal(9 | 15))
    }

    /// As observations carry it: `signal:9`, `code:1`, `oom`, `unknown`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            ExitCause::Signal(number) => format!("signal:{number}"),
            ExitCause::Code(code) => format!("code:{code}"),
            ExitCause::Oom => "oom".to_owned(),
            ExitCause::Unknown => "unknown".to_owned(),
        }
    }
}

/// Which process it is, so that a reused pid is never taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// Start time, field 22 of `/proc/PID/stat`, in clock ticks since boot.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// One instance as `grace instances` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name.
    pub id: InstanceId,
    /// Its service.
    pub service: ServiceName,
    /// 0 when no process runs.
    pub pid: u32,
    /// 0 when it has no port of its own.
    pub port: u16,
    /// What it is there for.
    pub role: Role,
    /// Where it is in its life.
    pub state: State,
    /// Share of the service's traffic in 1/10,000.
    pub weight: u32,
    /// Rises by one with every new process.
    pub generation: u64,
    /// Milliseconds since the process was started; 0 when none runs.
    pub uptime_ms: u64,
    /// Processes started beyond the first.
    pub restarts: u64,
    /// Why it is not ready, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
