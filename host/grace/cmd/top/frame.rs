//! What a frame holds: the last look, with rates from the one before. No terminal.

use std::collections::HashMap;

use grace_model::id::InstanceId;
use grace_model::incident::IncidentState;
use grace_model::instance::{InstanceView, State};
use grace_model::report::{Counts, InstanceReport, ProxyReport, TIME_BOUNDS_US, Times};
use grace_model::usage::{HostUsage, InstanceUsage, Measured};
use serde::Serialize;

use super::source::Told;
use crate::cmd::status::missing;

/// Incidents in a frame: the newest.
const INCIDENTS: usize = 20;

/// The last look and, for rates, the measurement before its own.
#[derive(Debug, Default)]
pub struct History {
    told: Option<Told>,
    before: Option<Measured>,
}

/// All that is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Frame {
    /// Where the host's state is.
    pub state: String,
    /// Whether nothing is missing.
    pub whole: bool,
    /// What is.
    pub missing: Vec<String>,
    /// What could not be asked.
    pub lacks: Option<String>,
    /// When it was measured, in milliseconds since the epoch; none while the healer is away.
    pub measured_at: Option<u64>,
    /// The machine.
    pub host: Option<HostUsage>,
    /// Resident memory of Grace's own processes.
    pub grace_rss_bytes: u64,
    /// Services, in the file's order.
    pub services: Vec<Service>,
    /// Instances, in the supervisor's order.
    pub instances: Vec<Instance>,
    /// The newest incidents, newest first.
    pub incidents: Vec<Incident>,
    /// Incidents that are not over.
    pub incidents_open: usize,
}

/// A service.
#[derive(Debug, Clone, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Instances that it is to have.
    pub instances: u32,
    /// Those that are ready.
    pub ready: u32,
    /// Requests of clients a second.
    pub requests_per_second: Option<f64>,
    /// Answers of 500 and above and requests never answered, a second.
    pub errors_per_second: Option<f64>,
    /// Half of the answers began within this; at most the next bound of a class above.
    pub p50_us: Option<u64>,
    /// Of a hundred answers 99 began within this, likewise.
    pub p99_us: Option<u64>,
    /// Requests that wait for an instance.
    pub waiting: Option<u64>,
}

/// An instance.
#[derive(Debug, Clone, Serialize)]
pub struct Instance {
    /// As the supervisor knows it.
    #[serde(flatten)]
    pub view: InstanceView,
    /// As the kernel counts it; none until it was looked at.
    pub usage: Option<InstanceUsage>,
    /// Requests given to it a second.
    pub requests_per_second: Option<f64>,
    /// Errors and requests never answered, a second.
    pub errors_per_second: Option<f64>,
    /// Bytes to it through the load balancer a second.
    pub received_bytes_per_second: Option<f64>,
    /// Bytes from it, likewise.
    pub sent_bytes_per_second: Option<f64>,
}

/// An incident.
#[derive(Debug, Clone, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: IncidentState,
    /// Whom it is about.
    pub target: String,
    /// What was found.
    pub finding: String,
    /// For a person.
    pub summary: String,
    /// What heals it.
    pub playbook: Option<String>,
    /// When it was opened.
    pub opened_at: u64,
    /// When it was over.
    pub resolved_at: Option<u64>,
}

impl History {
    /// Takes a look in.
    pub fn put(&mut self, told: Told) {
        let last = self.told.take().and_then(|told| told.measured);
        let newer = |one: &Measured, other: &Measured| one.at != other.at;
        self.before = match (last, &told.measured) {
            (Some(last), Some(now)) if newer(&last, now) => Some(last),
            // The same measurement again: what was before it is still what was before it.
            (Some(_), Some(_)) => self.before.take(),
            (last, _) => last,
        };
        self.told = Some(told);
    }

    /// Whether two measurements are known.
    pub fn has_rates(&self) -> bool {
        self.before.is_some()
    }

    /// What is shown; none before the first look.
    pub fn frame(&self) -> Option<Frame> {
        let told = self.told.as_ref()?;
        let measured = told.measured.as_ref();
        let rates = Rates::between(self.before.as_ref(), measured);
        let mut incidents: Vec<Incident> = Vec::new();
        for one in told.incidents.iter().rev().take(INCIDENTS) {
            incidents.push(Incident {
                id: one.id.to_string(),
                state: one.state,
                target: one.target.clone(),
                finding: one.finding.kind.clone(),
                summary: one.finding.summary.clone(),
                playbook: one.playbook.as_ref().map(ToString::to_string),
                opened_at: one.opened_at,
                resolved_at: one.resolved_at,
            });
        }
        let missing = missing(&told.fleet);
        let processes = measured.map_or(&[][..], |it| it.processes.as_slice());
        Some(Frame {
            state: told.state.clone(),
            whole: missing.is_empty(),
            missing,
            lacks: told.lacks.clone(),
            measured_at: measured.map(|it| it.at),
            host: measured.and_then(|it| it.host),
            grace_rss_bytes: processes.iter().map(|one| one.rss_bytes).sum(),
            services: services(told, &rates),
            instances: instances(told, &rates),
            incidents,
            incidents_open: told
                .incidents
                .iter()
                .filter(|one| !one.state.at_rest())
                .count(),
        })
    }
}

/// Two reports of the same proxy and the time between them.
#[derive(Default)]
struct Rates<'m> {
    pair: Option<(&'m ProxyReport, &'m ProxyReport)>,
    seconds: f64,
    now: HashMap<(&'m InstanceId, u64), &'m InstanceReport>,
    before: HashMap<(&'m InstanceId, u64), &'m InstanceReport>,
}

impl<'m> Rates<'m> {
    fn between(before: Option<&'m Measured>, now: Option<&'m Measured>) -> Self {
        let (Some(before), Some(now)) = (before, now) else {
            return Self::default();
        };
        let pair = match (&before.proxy, &now.proxy) {
            // Another process counts from zero.
            (Some(before), Some(now)) if before.pid == now.pid => Some((before, now)),
            _ => None,
        };
        let by_key = |report: &'m ProxyReport| {
            let all = report.instances.iter();
            all.map(|it| ((&it.instance, it.generation), it)).collect()
        };
        Self {
            pair,
            seconds: std::time::Duration::from_millis(now.at.saturating_sub(before.at))
                .as_secs_f64()
                .max(0.001),
            now: pair.map(|it| by_key(it.1)).unwrap_or_default(),
            before: pair.map(|it| by_key(it.0)).unwrap_or_default(),
        }
    }

    /// A second, of so many more.
    fn rate(&self, before: u64, now: u64) -> f64 {
        let more = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        f64::from(more) / self.seconds
    }

    fn of_instance(&self, view: &InstanceView) -> Option<(Counts, Counts)> {
        let key = (&view.id, view.generation);
        let now = self.now.get(&key)?.counts;
        // One that is new in this time had done nothing before.
        let before = self.before.get(&key).map(|it| it.counts);
        Some((before.unwrap_or_default(), now))
    }
}

fn wrong(counts: &Counts) -> u64 {
    counts.errors.saturating_add(counts.unanswered)
}

fn services(told: &Told, rates: &Rates<'_>) -> Vec<Service> {
    let of = |report: &ProxyReport, name: &str| {
        let mut all = report.services.iter();
        all.find(|it| it.service.as_str() == name).cloned()
    };
    let mut services = Vec::new();
    for view in &told.fleet.services {
        let name = view.name.as_str();
        let now = told.measured.as_ref().and_then(|it| it.proxy.as_ref());
        let now = now.and_then(|report| of(report, name));
        let pair = rates.pair.and_then(|(before, now)| {
            let now = of(now, name)?;
            Some((of(before, name), now))
        });
        let counts = pair.as_ref().map(|(before, now)| {
            let before = before.as_ref().map(|it| it.counts);
            (before.unwrap_or_default(), now.counts)
        });
        let times = counts.map(|(before, now)| less(&now.times, &before.times));
        services.push(Service {
            name: name.to_owned(),
            instances: view.instances,
            ready: view.ready,
            requests_per_second: pair.as_ref().map(|(before, now)| {
                let before = before.as_ref().map_or(0, |it| it.requests);
                rates.rate(before, now.requests)
            }),
            errors_per_second: counts.map(|(a, b)| rates.rate(wrong(&a), wrong(&b))),
            p50_us: times.as_ref().and_then(|it| quantile(it, 500)),
            p99_us: times.as_ref().and_then(|it| quantile(it, 990)),
            waiting: now.map(|it| it.waiting),
        });
    }
    services
}

fn instances(told: &Told, rates: &Rates<'_>) -> Vec<Instance> {
    let measured = told.measured.iter().flat_map(|it| &it.instances);
    let usages: HashMap<(&InstanceId, u64), &InstanceUsage> = measured
        .map(|it| ((&it.instance, it.generation), it))
        .collect();
    let mut instances = Vec::new();
    for view in &told.fleet.instances {
        let counts = rates.of_instance(view);
        let rate = |of: fn(&Counts) -> u64| counts.map(|(a, b)| rates.rate(of(&a), of(&b)));
        instances.push(Instance {
            usage: usages
                .get(&(&view.id, view.generation))
                .map(|it| (*it).clone()),
            requests_per_second: rate(|it| it.requests),
            errors_per_second: rate(wrong),
            received_bytes_per_second: rate(|it| it.received_bytes),
            sent_bytes_per_second: rate(|it| it.sent_bytes),
            view: view.clone(),
        });
    }
    instances
}

impl Instance {
    /// Whether it is as it should be.
    pub fn is_ready(&self) -> bool {
        self.view.state == State::Ready
    }
}

fn less(now: &Times, before: &Times) -> Times {
    let mut left = *now;
    for (count, before) in left.counts.iter_mut().zip(before.counts) {
        *count = count.saturating_sub(before);
    }
    left.sum_us = now.sum_us.saturating_sub(before.sum_us);
    left
}

/// The bound of the class that `permille` of the times are at or below; none for no times. What
/// is longer than all classes counts as the longest.
fn quantile(times: &Times, permille: u64) -> Option<u64> {
    let wanted = times.total().saturating_mul(permille).div_ceil(1_000);
    let mut sum = 0;
    for (class, count) in times.counts.iter().enumerate() {
        sum += count;
        if *count > 0 && sum >= wanted {
            return TIME_BOUNDS_US.get(class).or(TIME_BOUNDS_US.last()).copied();
        }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use grace_model::ipc::FleetStatus;

    pub fn told(at: u64, requests: u64) -> Told {
        let instance = |number: u64| {
            serde_json::json!({ "id": format!("shop-{number}"), "service": "shop", "pid": 10 + number,
                "port": 0, "role": "active", "state": if number == 2 { "starting" } else { "ready" },
                "weight": 5000, "generation": 1, "uptime_ms": 61_000, "restarts": 0 })
        };
        let counted = |number: u64, requests: u64| {
            let mut times = Times::default();
            (0..requests).for_each(|_| times.record(900));
            let counts = Counts {
                requests,
                errors: requests / 10,
                unanswered: 0,
                received_bytes: requests * 100,
                sent_bytes: requests * 1_000,
                times,
            };
            InstanceReport {
                instance: format!("shop-{number}").as_str().into(),
                service: "shop".into(),
                generation: 1,
                dead: false,
                ejected: false,
                stopped: false,
                fenced: false,
                share: 100,
                limit: None,
                inflight: 0,
                open: 0,
                counts,
            }
        };
        let usage = |number: u64| InstanceUsage {
            instance: format!("shop-{number}").as_str().into(),
            service: "shop".into(),
            generation: 1,
            at,
            cpu_permille: Some(100 * number),
            usage: grace_model::usage::Usage {
                memory_bytes: number << 20,
                memory_limit_bytes: Some(64 << 20),
                open_files: Some(9),
                fullest_open_files: Some(9),
                fullest_open_files_limit: Some(1_024),
                threads: 3,
                processes: 1,
                ..Default::default()
            },
            proxied: None,
        };
        let one = counted(1, requests);
        let service = grace_model::report::ServiceReport {
            service: "shop".into(),
            requests,
            waiting: 0,
            shed: Default::default(),
            counts: one.counts,
        };
        let proxy = ProxyReport {
            pid: 7,
            threads: 1,
            linked: true,
            table_version: Some(1),
            totals: Default::default(),
            services: vec![service],
            instances: vec![one, counted(2, 0)],
            certificates: vec![],
            kernels: vec![],
        };
        let fleet: FleetStatus = serde_json::from_value(serde_json::json!({
            "processes": [{ "name": "proxy", "pid": 7, "restarts": 0 }],
            "instances": [instance(1), instance(2)],
            "services": [{ "name": "shop", "listen": null, "instances": 2, "ready": 1 }],
            "kernels": [],
        }))
        .unwrap();
        Told {
            state: "/var/lib/grace".into(),
            fleet,
            measured: Some(Measured {
                at,
                host: None,
                processes: vec![],
                instances: vec![usage(1), usage(2)],
                proxy: Some(proxy),
            }),
            incidents: vec![],
            lacks: None,
        }
    }

    #[test]
    fn rates_are_of_the_time_between_two_measurements() {
        let mut history = History::default();
        history.put(told(1_000, 100));
        assert!(!history.has_rates());
        let first = history.frame().unwrap();
        assert_eq!(first.services[0].requests_per_second, None);
        history.put(told(3_000, 300));
        let frame = history.frame().unwrap();
        let service = &frame.services[0];
        assert_eq!(service.requests_per_second, Some(100.0));
        assert_eq!(service.errors_per_second, Some(10.0));
        assert_eq!((service.p50_us, service.p99_us), (Some(1_000), Some(1_000)));
        assert_eq!(frame.instances[0].sent_bytes_per_second, Some(100_000.0));
        assert_eq!(frame.instances[1].requests_per_second, Some(0.0));
        assert_eq!(frame.missing, ["shop has 1 of 2 ready"]);
        // The same measurement once more changes nothing.
        history.put(told(3_000, 300));
        let again = history.frame().unwrap();
        assert_eq!(again.services[0].requests_per_second, Some(100.0));
    }

    #[test]
    fn another_proxy_gives_no_rate_and_no_made_up_one() {
        let mut history = History::default();
        history.put(told(1_000, 100));
        let mut next = told(2_000, 5);
        next.measured.as_mut().unwrap().proxy.as_mut().unwrap().pid = 8;
        history.put(next);
        let frame = history.frame().unwrap();
        assert_eq!(frame.services[0].requests_per_second, None);
        assert_eq!(frame.services[0].waiting, Some(0));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_class() {
        let mut times = Times::default();
        assert_eq!(quantile(&times, 500), None);
        (0..99).for_each(|_| times.record(400));
        times.record(80_000_000);
        assert_eq!(quantile(&times, 990), Some(500));
        assert_eq!(quantile(&times, 991), Some(30_000_000));
    }
}
