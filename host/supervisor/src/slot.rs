//! One instance as the supervisor holds it: its machine, its process, its open files.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use grace_model::config::Service;
use grace_model::event::Subject;
use grace_model::id::InstanceId;
use grace_model::instance::{InstanceView, ProcessId, Role, State};
use grace_plan::restart::{Machine, Policy};
use tokio::task::AbortHandle;

use crate::confine::InGroup;
use crate::log::Output;
use crate::snapshot::{RunRecord, SlotRecord};

/// One instance.
#[derive(Debug)]
pub(crate) struct Slot {
    pub id: InstanceId,
    pub service: Arc<Service>,
    pub machine: Machine,
    pub running: Option<Running>,
    /// The process that a dead supervisor knew, until it was looked for.
    pub recorded: Option<RunRecord>,
    /// 0: none.
    pub port: u16,
    /// Processes started so far.
    pub started: u64,
    pub output: Option<Output>,
    pub notify: Option<Notify>,
    /// The listening socket of an instance that inherits it.
    pub socket: Option<OwnedFd>,
    /// With no proxy there: when its traffic counts as ended.
    pub drained_at: Option<u64>,
}

/// Where an instance says how it is.
#[derive(Debug)]
pub(crate) struct Notify {
    /// `$NOTIFY_SOCKET`.
    pub address: String,
    /// For the keeper.
    pub socket: OwnedFd,
    /// Reads it.
    pub task: AbortHandle,
}

/// A process of an instance.
#[derive(Debug)]
pub(crate) struct Running {
    pub process: ProcessId,
    pub handle: OwnedFd,
    pub watch: AbortHandle,
    pub generation: u64,
    /// A child of this supervisor: the kernel tells of stops, and gives the exit status.
    pub own: bool,
    /// Milliseconds since boot, as all times here.
    pub started_at: u64,
    pub stopped_since: Option<u64>,
    pub stopped_told: u64,
    /// Last heartbeat, or since when one is expected.
    pub beat_at: Option<u64>,
    pub late_told: Option<u64>,
    /// Dead, and its cause is waited for until then.
    pub cause_by: Option<u64>,
    pub group: Option<InGroup>,
}

impl Slot {
    pub(crate) fn new(id: InstanceId, service: Arc<Service>) -> Self {
        let machine = Machine::new(Policy::of(&service));
        Self {
            id,
            service,
            machine,
            running: None,
            recorded: None,
            port: 0,
            started: 0,
            output: None,
            notify: None,
            socket: None,
            drained_at: None,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject {
            instance: self.id.clone(),
            service: self.service.name.clone(),
            generation: self.machine.generation(),
        }
    }

    pub(crate) fn record(&self) -> SlotRecord {
        SlotRecord {
            id: self.id.clone(),
            service: self.service.name.clone(),
            machine: self.machine.clone(),
            process: self.running.as_ref().map(|running| RunRecord {
                process: running.process.clone(),
                generation: running.generation,
                started_at: running.started_at,
            }),
            port: self.port,
            started: self.started,
            notify: self.notify.as_ref().map(|notify| notify.address.clone()),
        }
    }

    pub(crate) fn view(&self, role: Role, weight: u32, now: u64) -> InstanceView {
        let state = self.machine.state();
        let reason = self.machine.reason();
        let show = state != State::Ready && !reason.is_empty();
        InstanceView {
            id: self.id.clone(),
            service: self.service.name.clone(),
            pid: self
                .running
                .as_ref()
                .map_or(0, |running| running.process.pid),
            port: self.port,
            role,
            state,
            weight,
            generation: self.machine.generation(),
            uptime_ms: self
                .running
                .as_ref()
                .map_or(0, |running| now.saturating_sub(running.started_at)),
            restarts: self.started.saturating_sub(1),
            reason: show.then(|| reason.to_owned()),
        }
    }

    /// Whether the proxy may have a connection to it.
    pub(crate) fn is_proxied(&self) -> bool {
        let reachable = self.port != 0 || self.service.front.unix.is_some();
        self.service.listen.is_some() && reachable
    }

    /// The next time that something about it is due.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let cause_by = self.running.as_ref().and_then(|running| running.cause_by);
        [self.machine.deadline(), self.drained_at, cause_by]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The value of `GRACE_INSTANCE`.
pub(crate) fn marker(host: &str, instance: &InstanceId, generation: u64) -> String {
    format!("{host}:{instance}:{generation}")
}

/// A short name of a state directory that is the same in every process.
pub(crate) fn host_name(state_dir: &std::path::Path) -> String {
    // FNV-1a: stable over versions, unlike the standard hasher.
    let bytes = state_dir.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.task.abort();
    }
}
