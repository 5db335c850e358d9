//! The proxy's numbers, as one line of JSON on its socket.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use grace_model::config::Class;
use grace_model::status::Kernel;
use serde::Serialize;

use crate::budget::Cell;
use crate::control::Control;
use crate::meter;
use crate::routes::ThreadCells;

/// A kernel whose sign of life is older than this is not running.
const ALIVE: Duration = Duration::from_secs(3);

/// All numbers.
#[derive(Debug, Serialize)]
struct Stats {
    pid: u32,
    threads: usize,
    /// Whether the supervisor can be reached.
    linked: bool,
    table_version: Option<u64>,
    totals: Totals,
    instances: Vec<InstanceStats>,
    services: Vec<ServiceStats>,
    certificates: Vec<CertificateStats>,
    kernels: Vec<Kernel>,
}

/// Counters since the proxy's start.
#[derive(Debug, Serialize)]
struct Totals {
    requests: u64,
    second_tries: u64,
    hedges: u64,
    over_budget: u64,
    suspects: u64,
    failed: u64,
    no_instance: u64,
    shed: u64,
    waiting: u64,
    refused: u64,
    too_slow: u64,
    clients: u64,
    dials: u64,
    tunnels: u64,
    probes: u64,
    events: u64,
    events_lost: u64,
    /// Recordings of failed instances that are on the disk, or were.
    recordings: u64,
    recordings_lost: u64,
}

/// What is known against an instance.
#[derive(Debug, Serialize)]
struct InstanceStats {
    instance: String,
    service: String,
    generation: u64,
    dead: bool,
    ejected: bool,
    stopped: bool,
    fenced: bool,
    /// The share of its weight that it gets, in percent.
    share: u8,
    /// Requests at once that it can use; none: it has no limit.
    limit: Option<u32>,
    /// Requests given to it whose answers have not begun.
    inflight: u32,
}

/// A service's requests.
#[derive(Debug, Serialize)]
struct ServiceStats {
    service: String,
    requests: u64,
    /// Waiting now, for an instance or for room on one.
    waiting: u64,
    /// Sent away with 503 for want of room.
    shed: ShedStats,
}

/// By class.
#[derive(Debug, Serialize)]
struct ShedStats {
    high: u64,
    normal: u64,
    low: u64,
}

/// The certificate of a service.
#[derive(Debug, Serialize)]
struct CertificateStats {
    service: String,
    /// Whether there is one in use.
    in_use: bool,
    /// What is wrong with the one in the files.
    problem: Option<String>,
}

impl Control {
    /// One line of JSON.
    pub(crate) fn stats(&self) -> String {
        let sum = |field: fn(&ThreadCells) -> &Cell| -> u64 {
            self.shared
                .threads
                .iter()
                .map(|cells| field(cells).get())
                .sum()
        };
        let totals = Totals {
            requests: sum(|it| &it.requests),
            second_tries: sum(|it| &it.second_tries),
            hedges: sum(|it| &it.hedges),
            over_budget: sum(|it| &it.over_budget),
            suspects: sum(|it| &it.suspects),
            failed: sum(|it| &it.failed),
            no_instance: sum(|it| &it.no_instance),
            shed: sum(|it| &it.shed),
            waiting: self.cells.values().map(|it| it.queue.requests()).sum(),
            refused: sum(|it| &it.refused),
            too_slow: sum(|it| &it.too_slow),
            clients: sum(|it| &it.clients),
            dials: sum(|it| &it.dials),
            tunnels: sum(|it| &it.tunnels),
            probes: self.probes,
            events: self.record.written(),
            events_lost: self.record.lost(),
            recordings: self.disk.written(),
            recordings_lost: self.disk.lost(),
        };
        let mut instances: Vec<InstanceStats> = self
            .watched
            .values()
            .map(|watched| InstanceStats {
                instance: watched.end.subject.instance.to_string(),
                service: watched.end.subject.service.to_string(),
                generation: watched.end.subject.generation,
                dead: watched.end.dead(),
                ejected: watched.end.ejected(),
                stopped: watched.end.stopped(),
                fenced: watched.end.fenced(),
                share: watched.end.share(),
                limit: Some(watched.end.meter.limit()).filter(|limit| *limit != meter::NONE),
                inflight: watched.end.meter.inflight(),
            })
            .collect();
        instances.sort_by(|a, b| a.instance.cmp(&b.instance));
        let mut services: Vec<ServiceStats> = self
            .cells
            .values()
            .map(|cells| ServiceStats {
                service: cells.name.to_string(),
                requests: cells.requests(),
                waiting: cells.queue.requests(),
                shed: ShedStats {
                    high: cells.shed(Class::High),
                    normal: cells.shed(Class::Normal),
                    low: cells.shed(Class::Low),
                },
            })
            .collect();
        services.sort_by(|a, b| a.service.cmp(&b.service));
        let mut certificates: Vec<CertificateStats> = self
            .certificates
            .iter()
            .map(|(name, it)| CertificateStats {
                service: name.to_string(),
                in_use: it.in_use.get().is_some(),
                problem: it.problem.clone(),
            })
            .collect();
        certificates.sort_by(|a, b| a.service.cmp(&b.service));
        let kernels = self.kernels(totals.requests);
        let stats = Stats {
            pid: std::process::id(),
            threads: self.shared.threads.len(),
            linked: self.shared.linked(),
            table_version: self.table.as_ref().map(|table| table.version),
            totals,
            instances,
            services,
            certificates,
            kernels,
        };
        serde_json::to_string(&stats).unwrap_or_default()
    }

    /// The kernels that live here. All end with the process, so none is ever started a
    /// second time in it.
    fn kernels(&self, requests: u64) -> Vec<Kernel> {
        let now = Instant::now();
        let age = |since: Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let oldest = self
            .shared
            .threads
            .iter()
            .map(|it| it.beat.load(Ordering::Relaxed))
            .min()
            .unwrap_or(0);
        let traffic = now
            .saturating_duration_since(self.born)
            .saturating_sub(Duration::from_millis(oldest));
        let monitor = now.saturating_duration_since(self.last_tick);
        let recorder = now
            .saturating_duration_since(self.born)
            .saturating_sub(Duration::from_millis(self.disk.beat()));
        let kernel = |name: &str, tier: u8, age_ms: u64, work_done: u64| Kernel {
            name: name.to_owned(),
            process: "proxy".to_owned(),
            tier,
            state: if age_ms <= age(ALIVE) {
                "running"
            } else {
                "stopped"
            }
            .to_owned(),
            depends_on: vec!["fleet".to_owned()],
            heartbeat_age_ms: age_ms,
            restarts: 0,
            work_done,
        };
        vec![
            kernel("proxy", 0, age(traffic), requests),
            kernel("health-monitor", 1, age(monitor), self.probes),
            kernel("recorder", 3, age(recorder), self.disk.written()),
        ]
    }
}
