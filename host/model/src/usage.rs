//! What instances, Grace's own processes and the machine use, as one look found it. Figures with
//! their unit in the name; `None` says that the kernel does not tell here, never zero.

use serde::{Deserialize, Serialize};

use crate::TimestampMs;
use crate::id::{InstanceId, ServiceName};
use crate::report::ProxyReport;

/// The last look at everything. Each instance has the time of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// When the machine, Grace and the load balancer were looked at last; 0: never.
    pub at: TimestampMs,
    /// The machine.
    pub host: Option<HostUsage>,
    /// Grace's own processes.
    pub processes: Vec<ProcessUsage>,
    /// The instances that run, by name.
    pub instances: Vec<InstanceUsage>,
    /// What the load balancer counts; none while it cannot be asked.
    pub proxy: Option<ProxyReport>,
}

/// Which of the kernel's books the processor time and the memory come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A control group of version 1.
    CgroupV1,
    /// A control group of version 2.
    CgroupV2,
    /// `/proc` alone, process by process.
    #[default]
    Proc,
}

impl Source {
    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Source::CgroupV1 => "cgroup-v1",
            Source::CgroupV2 => "cgroup-v2",
            Source::Proc => "proc",
        }
    }
}

/// What the whole process tree of an instance uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where `cpu_us`, `memory_bytes` and the limits come from.
    pub source: Source,
    /// Processor time so far.
    pub cpu_us: u64,
    /// Resident memory of its processes; what they share counts for each.
    pub rss_bytes: u64,
    /// Memory as its group counts it, without cached files; as `rss_bytes` without a group.
    pub memory_bytes: u64,
    /// What `memory_bytes` can grow to.
    pub memory_limit_bytes: Option<u64>,
    /// Processes that the out-of-memory killer has ended, where its group counts them.
    pub oom_kills: Option<u64>,
    /// Processes.
    pub processes: u64,
    /// Of them, looked at one by one; the rest is missing in `rss_bytes`, files and disk.
    pub processes_seen: u64,
    /// Threads of all of them.
    pub threads: u64,
    /// What processes and threads together can grow to.
    pub threads_limit: Option<u64>,
    /// Open files of all of them; none when they may not be counted.
    pub open_files: Option<u64>,
    /// Open files of the process that is nearest to its limit, since the limit is each one's.
    pub fullest_open_files: Option<u64>,
    /// The limit of that process.
    pub fullest_open_files_limit: Option<u64>,
    /// Bytes read from disks so far, of those that live and those they have waited for; none
    /// when another user's may not be looked at.
    pub read_bytes: Option<u64>,
    /// Bytes written to disks so far, likewise.
    pub written_bytes: Option<u64>,
    /// Bytes on the interfaces of its own network namespace; none when it has the host's, where
    /// the kernel does not count by process.
    pub own_network: Option<NetworkBytes>,
}

impl Usage {
    /// Raises the counters to what they were before. What a process that has ended used is
    /// missing until its parent has waited for it, and for ever if nobody does; a counter that
    /// falls would be taken for one that began anew.
    pub fn never_less_than(&mut self, before: &Usage) {
        self.cpu_us = self.cpu_us.max(before.cpu_us);
        self.read_bytes = self.read_bytes.max(before.read_bytes);
        self.written_bytes = self.written_bytes.max(before.written_bytes);
    }
}

/// Bytes over a network, as the instance sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBytes {
    /// That came to it.
    pub received_bytes: u64,
    /// That it sent.
    pub sent_bytes: u64,
}

/// One instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceUsage {
    /// Its name.
    pub instance: InstanceId,
    /// Whose.
    pub service: ServiceName,
    /// Which process of it.
    pub generation: u64,
    /// When it was looked at.
    pub at: TimestampMs,
    /// Processor use since the look before, in thousandths of a core; none at the first.
    pub cpu_permille: Option<u64>,
    /// The counters and gauges.
    #[serde(flatten)]
    pub usage: Usage,
    /// What went through the load balancer to this process and from it; none while that cannot
    /// be asked or does not know it.
    pub proxied: Option<NetworkBytes>,
}

/// One of Grace's own processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// `keeper`, `supervisor`, `proxy`, `healer`.
    pub name: String,
    /// Which process.
    pub pid: u32,
    /// Processor time so far.
    pub cpu_us: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open files; none when they may not be counted.
    pub open_files: Option<u64>,
}

/// The machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUsage {
    /// Processor use since the look before, in thousandths of all cores.
    pub cpu_permille: u64,
    /// Memory that a new program could not have, in thousandths.
    pub memory_permille: u64,
    /// Of the state directory's disk, in thousandths; none when it cannot be read.
    pub disk_permille: Option<u64>,
    /// Load of the last minute, in thousandths a core.
    pub load1_permille: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_fall_and_gauges_may() {
        let before = Usage {
            cpu_us: 10,
            written_bytes: Some(4),
            rss_bytes: 9,
            ..Usage::default()
        };
        let mut now = Usage {
            cpu_us: 7,
            read_bytes: Some(1),
            rss_bytes: 2,
            ..Usage::default()
        };
        now.never_less_than(&before);
        assert_eq!((now.cpu_us, now.rss_bytes), (10, 2));
        assert_eq!((now.read_bytes, now.written_bytes), (Some(1), Some(4)));
    }
}
