//! The proxy's numbers, as one line of JSON on its socket.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use grace_model::config::Class;
use grace_model::report::{
    CertificateReport, InstanceReport, ProxyReport, ServiceReport, ShedReport, Totals,
};
use grace_model::status::Kernel;

use crate::budget::Cell;
use crate::control::Control;
use crate::meter;
use crate::routes::ThreadCells;

/// A kernel whose sign of life is older than this is not running.
const ALIVE: Duration = Duration::from_secs(3);

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
            ejections: self.ejections,
            probes: self.probes,
            events: self.record.written(),
            events_lost: self.record.lost(),
            recordings: self.disk.written(),
            recordings_lost: self.disk.lost(),
        };
        let mut instances: Vec<InstanceReport> = self
            .watched
            .values()
            .map(|watched| InstanceReport {
                instance: watched.end.subject.instance.clone(),
                service: watched.end.subject.service.clone(),
                generation: watched.end.subject.generation,
                dead: watched.end.dead(),
                ejected: watched.end.ejected(),
                stopped: watched.end.stopped(),
                fenced: watched.end.fenced(),
                share: watched.end.share(),
                limit: Some(watched.end.meter.limit()).filter(|limit| *limit != meter::NONE),
                inflight: watched.end.meter.inflight(),
                open: watched.open,
                counts: watched.counts,
            })
            .collect();
        instances.sort_by(|a, b| a.instance.cmp(&b.instance));
        let mut certificates: Vec<CertificateReport> = self
            .certificates
            .iter()
            .map(|(name, it)| CertificateReport {
                service: name.clone(),
                in_use: it.in_use.get().is_some(),
                problem: it.problem.clone(),
            })
            .collect();
        certificates.sort_by(|a, b| a.service.cmp(&b.service));
        let mut services: Vec<ServiceReport> = self
            .cells
            .values()
            .map(|it| ServiceReport {
                service: it.name.clone(),
                requests: it.requests(),
                waiting: it.queue.requests(),
                shed: ShedReport {
                    high: it.shed(Class::High),
                    normal: it.shed(Class::Normal),
                    low: it.shed(Class::Low),
                },
                counts: self.counts.get(&it.name).copied().unwrap_or_default(),
            })
            .collect();
        services.sort_by(|a, b| a.service.cmp(&b.service));
        let kernels = self.kernels(totals.requests);
        let stats = ProxyReport {
            pid: std::process::id(),
            threads: self.shared.threads.len(),
            linked: self.shared.linked(),
            table_version: self.table.as_ref().map(|table| table.version),
            totals,
            services,
            instances,
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
