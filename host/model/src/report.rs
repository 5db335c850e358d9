//! What the load balancer counts, as it tells it on its socket. All counters are since its
//! start; a new proxy begins at zero. It says nothing of how they are counted.

use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, ServiceName};
use crate::status::Kernel;

/// Upper bounds of the classes in which times are counted, in microseconds. Fine where a service
/// answers well (half a millisecond to 100 ms), coarse up to the longest an answer may take.
pub const TIME_BOUNDS_US: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// All numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProxyReport {
    /// Which process tells it.
    pub pid: u32,
    /// Threads of the data plane.
    pub threads: usize,
    /// Whether the supervisor can be reached.
    pub linked: bool,
    /// The routing table in use; none before the first.
    pub table_version: Option<u64>,
    /// Of all services.
    pub totals: Totals,
    /// By service, those of the table.
    #[serde(default)]
    pub services: Vec<ServiceReport>,
    /// By instance.
    pub instances: Vec<InstanceReport>,
    /// Of services whose clients speak TLS.
    pub certificates: Vec<CertificateReport>,
    /// The kernels that live in the proxy.
    pub kernels: Vec<Kernel>,
}

/// Counters since the proxy's start, and how many wait now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Requests taken from clients.
    pub requests: u64,
    /// Second tries of any kind.
    pub second_tries: u64,
    /// Of them, hedges.
    pub hedges: u64,
    /// Second tries that the budget did not allow.
    pub over_budget: u64,
    /// Answered 502 because their instance died of its own under them.
    pub suspects: u64,
    /// Ended in 502 or 504 for any other cause.
    pub failed: u64,
    /// Answered 503: no instance.
    pub no_instance: u64,
    /// Answered 503: no room on any.
    pub shed: u64,
    /// Requests that wait for an instance now.
    pub waiting: u64,
    /// Refused as malformed.
    pub refused: u64,
    /// Connections closed in the middle of a body, because somebody stood still.
    pub too_slow: u64,
    /// Connections of clients.
    pub clients: u64,
    /// Connections to instances.
    pub dials: u64,
    /// Upgraded and plain TCP connections.
    pub tunnels: u64,
    /// Instances taken out of the rotation by the proxy's own judgement.
    pub ejections: u64,
    /// Probes made.
    pub probes: u64,
    /// Events journalled.
    pub events: u64,
    /// Events that found no room.
    pub events_lost: u64,
    /// Recordings of failed instances that are on the disk, or were.
    pub recordings: u64,
    /// Recordings that could not be kept.
    pub recordings_lost: u64,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name.
    pub service: ServiceName,
    /// Requests taken from its clients; connections for plain TCP.
    pub requests: u64,
    /// Requests that wait now, for an instance or for room on one.
    pub waiting: u64,
    /// Sent away with 503 for want of room, by class.
    #[serde(default)]
    pub shed: ShedReport,
    /// What its instances were given and did, also those that are gone.
    pub counts: Counts,
}

/// Requests sent away with 503 for want of room, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedReport {
    /// Of the first class.
    pub high: u64,
    /// Of the usual one.
    pub normal: u64,
    /// Of the last.
    pub low: u64,
}

/// One process of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct InstanceReport {
    /// Its name.
    pub instance: InstanceId,
    /// Whose.
    pub service: ServiceName,
    /// Which process of it.
    pub generation: u64,
    /// Its process has ended.
    pub dead: bool,
    /// Out of the rotation.
    pub ejected: bool,
    /// Its process is stopped.
    pub stopped: bool,
    /// No connection of it may stay open.
    pub fenced: bool,
    /// The share of its weight that it gets, in percent.
    pub share: u8,
    /// Requests at once that it can use; none: it has no limit.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Requests given to it whose answers have not begun.
    #[serde(default)]
    pub inflight: u32,
    /// Requests and connections that were not over at the end of the last window.
    #[serde(default)]
    pub open: u64,
    /// What it was given and did.
    #[serde(default)]
    pub counts: Counts,
}

/// The certificate of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// Whose.
    pub service: ServiceName,
    /// Whether there is one in use.
    pub in_use: bool,
    /// What is wrong with the one in the files.
    pub problem: Option<String>,
}

/// What was given to instances and what came of it. A second try counts as a request more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests given to them.
    pub requests: u64,
    /// Answers of 500 and above, and answers that broke off.
    pub errors: u64,
    /// Requests never answered.
    pub unanswered: u64,
    /// Bytes written to their connections, heads and bodies, without TCP's own.
    pub received_bytes: u64,
    /// Bytes read from their connections, likewise. Probes are in neither.
    pub sent_bytes: u64,
    /// From giving a request to the first byte of its answer.
    pub times: Times,
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Counts) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.unanswered = self.unanswered.saturating_add(other.unanswered);
        self.received_bytes = self.received_bytes.saturating_add(other.received_bytes);
        self.sent_bytes = self.sent_bytes.saturating_add(other.sent_bytes);
        self.times.add(&other.times);
    }
}

/// Times, counted in classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How many were at most as long as each of [`TIME_BOUNDS_US`] and longer than the one
    /// before; the last: longer than all.
    pub counts: [u64; TIME_BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Times {
    /// Counts one.
    pub fn record(&mut self, us: u64) {
        let class = TIME_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Times) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_class_that_holds_it() {
        let mut times = Times::default();
        for us in [1, 500, 501, 1_000, 30_000_000, 30_000_001] {
            times.record(us);
        }
        let mut wanted = [0; 16];
        (wanted[0], wanted[1], wanted[14], wanted[15]) = (2, 2, 1, 1);
        assert_eq!(times.counts, wanted);
        assert_eq!((times.total(), times.sum_us), (6, 60_002_003));
        let mut twice = times;
        twice.add(&times);
        assert_eq!((twice.total(), twice.counts[15]), (12, 2));
    }
}
