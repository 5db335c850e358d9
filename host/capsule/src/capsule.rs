//! What is in a capsule. Plain data; `README.md` beside this crate describes every field.

use std::collections::BTreeMap;

use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::ExitCause;
use serde::{Deserialize, Serialize};

use crate::blob::Blob;

/// All that is known of one failure of one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capsule {
    /// Whether secrets are still in it.
    pub form: Form,
    /// Of a redacted or minimised one: the id of the one it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
    /// What happened.
    pub kind: Kind,
    /// When it was made, in milliseconds since 1970 by the wall clock.
    pub made_at: u64,
    /// Whose.
    pub service: ServiceName,
    /// Of which instance.
    pub instance: InstanceId,
    /// Which process of it.
    pub generation: u64,
    /// What ran.
    pub build: Build,
    /// How the process ended; none when it lives, or nobody could say.
    pub exit: Option<Exit>,
    /// The last lines that it wrote, standard output and error together, at most 4 KiB.
    pub output: String,
    /// The variables that the service sets.
    pub env: BTreeMap<String, String>,
    /// Where it ran.
    pub host: HostFacts,
    /// Its data directory.
    pub snapshot: Option<Snapshot>,
    /// How much of the traffic the recorder knew.
    pub coverage: Coverage,
    /// Oldest first.
    pub requests: Vec<Request>,
    /// How it became so small, if it was made smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimised: Option<Minimised>,
}

/// Whether a capsule may leave the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As recorded, secrets included.
    Raw,
    /// Secrets were taken out; a replay is of something else than what was recorded.
    Redacted,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The process ended of its own: by a signal of its own making, or with a code.
    Crash,
    /// SIGKILL or SIGTERM from outside.
    Killed,
    /// By the kernel's out-of-memory killer.
    OutOfMemory,
    /// It did not answer any more.
    Hang,
    /// It answered with server errors, one after another.
    ErrorBurst,
}

impl Kind {
    /// The word for it, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Crash => "crash",
            Kind::Killed => "killed",
            Kind::OutOfMemory => "out-of-memory",
            Kind::Hang => "hang",
            Kind::ErrorBurst => "error-burst",
        }
    }

    /// What the end of a process was.
    #[must_use]
    pub fn of(cause: &ExitCause) -> Self {
        match cause {
            ExitCause::Oom => Kind::OutOfMemory,
            cause if cause.external() => Kind::Killed,
            _ => Kind::Crash,
        }
    }
}

/// What ran.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Build {
    /// The command as configured, placeholders unfilled.
    pub command: Vec<String>,
    /// The program's file; empty when it could not be found.
    pub program: String,
    /// BLAKE3 of that file, hex; empty when it could not be read.
    pub program_hash: String,
    /// BLAKE3 of the service's resolved configuration as JSON, hex.
    pub config_hash: String,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// By what.
    pub cause: ExitCause,
    /// How long it had run.
    pub uptime_ms: u64,
}

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// The kernel's release.
    pub kernel: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Grace's version.
    pub grace: String,
}

/// A copy of the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its address by content, and its name below `capsules/snapshots`.
    pub id: String,
    /// Files in it.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Time the copy took, in microseconds.
    pub took_us: u64,
    /// Whether a process of the instance ran while it was taken, so that it may hold later writes
    /// or half of one.
    pub while_running: bool,
}

/// How much of the traffic the recorder knew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// How long the recorder had run. What came before, a proxy before this one may have seen,
    /// and its rings went with it.
    pub recorder_ms: u64,
    /// Requests of this service that went out of the rings for newer ones.
    pub evicted: u64,
    /// Requests that were not recorded for lack of room.
    pub no_room: u64,
    /// Requests in flight at this instance on routes that are not recorded.
    pub unrecorded_in_flight: u64,
    /// Threads of the proxy that did not answer in time.
    pub silent_threads: u32,
    /// Recorded requests of this instance that did not fit into the capsule.
    pub left_out: u64,
}

/// A request that was given to the instance, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// When it was given, in microseconds since the first one.
    pub at_us: u64,
    /// GET, POST, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In their order, names in lower case.
    pub headers: Vec<(String, Blob)>,
    /// As much of its body as is kept.
    pub body: Blob,
    /// How long the body was, as far as it came.
    pub body_bytes: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// In flight when the instance failed.
    pub suspect: bool,
    /// The instance's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

impl Request {
    /// Whether its body is not whole, so that a replay sends something else.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.body.0.len() as u64 != self.body_bytes
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.text())
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered to its end.
    Answered,
    /// The answer had begun.
    Answering,
    /// Waiting for an answer.
    InFlight,
    /// The connection broke before the answer's end.
    BrokeOff,
    /// Given up by the proxy or its client.
    GivenUp,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// As in [`Request`].
    pub headers: Vec<(String, Blob)>,
    /// As much of its body as is kept.
    pub body: Blob,
    /// How long the body was, as far as it came.
    pub body_bytes: u64,
    /// Time to its first byte, in microseconds.
    pub after_us: u64,
}

/// How a capsule became small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimised {
    /// Copies that were started and asked.
    pub runs: u64,
    /// How long it took.
    pub took_ms: u64,
    /// Requests before.
    pub requests_before: u64,
    /// Whether nothing more could be left out; else it was ended before.
    pub complete: bool,
}
