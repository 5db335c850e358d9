//! The words on the supervisor's socket (`run/supervisor.sock`): one JSON document a line,
//! both ways. A connection is opened by the proxy, the healer or the CLI; the supervisor
//! never opens one and never waits for an answer.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::command::{Command, Outcome};
use crate::config::{Front, Proxy};
use crate::id::{InstanceId, OpId, ServiceName};
use crate::instance::{ExitCause, InstanceView, ProcessId, State};
use crate::record::Record;

/// To the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Request {
    /// From the proxy: send the table now and at every change, and every death.
    Subscribe,
    /// A change to the fleet. Answered by `Reply` when it is done, maybe much later; other
    /// answers may come between.
    Command {
        /// Remembered by the supervisor.
        op: OpId,
        /// What to do.
        command: Command,
    },
    /// Answered by `Status`.
    Status,
    /// What memory holds of an instance's output. Answered by `Output`, or by `Error` when
    /// there is no such instance.
    Output {
        /// Which instance.
        instance: InstanceId,
    },
    /// From the proxy: a probe's verdict on a process, at every change.
    Health {
        /// Which instance.
        instance: InstanceId,
        /// Which process of it.
        generation: u64,
        /// Whether it is ready for traffic.
        ok: bool,
        /// Why not.
        reason: String,
    },
    /// From the proxy: no request is in flight any more on a process that the table says is
    /// draining or fenced, and none will be given to it.
    Drained {
        /// Which instance.
        instance: InstanceId,
        /// Which process of it.
        generation: u64,
        /// The table's number of this leave.
        #[serde(default)]
        leave: u64,
    },
    /// From the proxy: what an instance's traffic was in the last window. It judges ramps and
    /// new versions.
    Traffic {
        /// Which instance.
        instance: InstanceId,
        /// Which process of it.
        generation: u64,
        /// Requests given to it.
        requests: u64,
        /// Answers of 500 and above, and requests never answered.
        errors: u64,
        /// 99th percentile of the time to the first byte, in microseconds.
        p99_us: u64,
        /// In flight at the end of the window.
        inflight: u64,
    },
    /// End everything: instances gracefully, then the proxy, the healer, the keeper and the
    /// supervisor itself. Answered by `Reply` just before the end.
    Shutdown,
}

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Answer {
    /// The whole routing table. Replaces the one before.
    Table(Table),
    /// A process ended, as soon as its cause is known. Sent to subscribers before the table.
    Death {
        /// Which instance.
        instance: InstanceId,
        /// Which process of it.
        generation: u64,
        /// How.
        cause: ExitCause,
    },
    /// What came of an operation.
    Reply {
        /// Which.
        op: OpId,
        /// What.
        outcome: Outcome,
    },
    /// All that the supervisor knows.
    Status(FleetStatus),
    /// The newest output of an instance, from memory.
    Output {
        /// Whole lines, unless there is just one; at most what the service's ring holds.
        text: String,
        /// Bytes of output that came before and are not held.
        dropped: u64,
        /// How many of the newest bytes are in no file, because they could not be written.
        unsaved: u64,
    },
    /// The line was not understood.
    Error {
        /// Why.
        message: String,
    },
}

/// Where requests may go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Rises with every change.
    pub version: u64,
    /// The services with traffic or probes.
    pub services: Vec<TableService>,
    /// The data plane's settings.
    pub proxy: Proxy,
}

/// One service in the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableService {
    /// Its name. Its listening sockets were passed to the proxy as `listen:NAME:0` and on.
    pub name: ServiceName,
    /// How to probe; none when readiness is not the proxy's to tell.
    pub probe: Option<TableProbe>,
    /// How its clients and instances are spoken to.
    #[serde(default)]
    pub front: Front,
    /// What of its traffic is recorded.
    #[serde(default)]
    pub record: Record,
    /// Its instances.
    pub instances: Vec<TableInstance>,
}

/// How the proxy probes a service's instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableProbe {
    /// GET this path; none: a TCP connection is enough.
    pub http: Option<String>,
    /// While starting: time between two probes. The start is what everyone waits for.
    pub start_interval_ms: u64,
    /// Afterwards.
    pub interval_ms: u64,
    /// Time a probe may take.
    pub timeout_ms: u64,
    /// Failures in a row before `Health { ok: false }`.
    pub failures: u32,
}

/// One instance in the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableInstance {
    /// Its name.
    pub id: InstanceId,
    /// Which process of it.
    pub generation: u64,
    /// Where it listens; none when it has no socket.
    pub addr: Option<SocketAddr>,
    /// The Unix socket it listens on, when it has no address.
    #[serde(default)]
    pub unix: Option<PathBuf>,
    /// Its process; none when none runs.
    pub process: Option<ProcessId>,
    /// Where it is in its life.
    pub state: State,
    /// No connection of this generation may stay open.
    pub fenced: bool,
    /// Share in 1/10,000.
    pub weight: u32,
    /// Rises with every time that it was taken from the traffic; given back with `Drained`, so
    /// that a late word about an earlier time is known as one.
    #[serde(default)]
    pub leave: u64,
}

/// All that the supervisor knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// Grace's own processes.
    pub processes: Vec<GraceProcess>,
    /// The instances.
    pub instances: Vec<InstanceView>,
    /// Where each service listens.
    pub services: Vec<ServiceView>,
    /// Restarts of kernels in the supervisor and what they did; see `status::Kernel`.
    pub kernels: Vec<crate::status::Kernel>,
}

/// One service as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Where clients connect.
    pub listen: Option<SocketAddr>,
    /// How many instances are wanted.
    pub instances: u32,
    /// How many of them are ready.
    pub ready: u32,
}

/// One of Grace's own processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraceProcess {
    /// `keeper`, `supervisor`, `proxy`, `healer`.
    pub name: String,
    /// 0 when it does not run.
    pub pid: u32,
    /// Times it was started beyond the first.
    pub restarts: u64,
    /// Others of this name that have a successor and end what they had.
    #[serde(default)]
    pub leaving: Vec<u32>,
}
