//! The last look at everything that is measured, for views, and what detectors have not been
//! shown of it. At most one observation an instance waits: a newer look replaces an older one.

use std::collections::{BTreeMap, HashMap, HashSet};

use grace_model::TimestampMs;
use grace_model::id::InstanceId;
use grace_model::plugin::Observation;
use grace_model::report::ProxyReport;
use grace_model::usage::{HostUsage, InstanceUsage, Measured, NetworkBytes, ProcessUsage};

use super::resources::{of_host, of_usage};

/// What one round found.
#[derive(Debug, Default)]
pub struct Found {
    /// When.
    pub at: TimestampMs,
    /// The machine.
    pub host: Option<HostUsage>,
    /// Grace's own processes.
    pub processes: Vec<ProcessUsage>,
    /// The instances that this round looked at.
    pub instances: Vec<InstanceUsage>,
    /// Those that run, looked at or not, with their generation.
    pub running: HashSet<(InstanceId, u64)>,
    /// The load balancer's numbers.
    pub proxy: Option<ProxyReport>,
}

/// It.
#[derive(Debug, Default)]
pub struct Gauges {
    at: TimestampMs,
    host: Option<HostUsage>,
    processes: Vec<ProcessUsage>,
    instances: BTreeMap<InstanceId, InstanceUsage>,
    proxy: Option<ProxyReport>,
    unseen: HashSet<InstanceId>,
    host_unseen: bool,
}

impl Gauges {
    /// Takes a round in.
    pub fn put(&mut self, mut found: Found) {
        let proxied = proxied(found.proxy.as_ref());
        for one in &mut found.instances {
            let key = (&one.instance, one.generation);
            one.proxied = proxied.get(&key).copied();
        }
        for one in found.instances {
            self.unseen.insert(one.instance.clone());
            self.instances.insert(one.instance.clone(), one);
        }
        self.instances
            .retain(|id, one| found.running.contains(&(id.clone(), one.generation)));
        self.unseen.retain(|id| self.instances.contains_key(id));
        self.at = found.at;
        self.host_unseen |= found.host.is_some();
        self.host = found.host.or(self.host);
        self.processes = found.processes;
        self.proxy = found.proxy;
    }

    /// What is new since the last time, for detectors.
    pub fn news(&mut self) -> Vec<Observation> {
        let unseen = std::mem::take(&mut self.unseen);
        let mut news: Vec<Observation> = self
            .instances
            .iter()
            .filter(|(id, _)| unseen.contains(*id))
            .filter_map(|(_, one)| of_usage(one))
            .collect();
        if std::mem::take(&mut self.host_unseen)
            && let Some(host) = &self.host
        {
            news.push(of_host(host, self.at));
        }
        news
    }

    /// The kernels in the load balancer, while it can be asked.
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxyReport> {
        self.proxy.as_ref()
    }

    /// All of it.
    #[must_use]
    pub fn view(&self) -> Measured {
        Measured {
            at: self.at,
            host: self.host,
            processes: self.processes.clone(),
            instances: self.instances.values().cloned().collect(),
            proxy: self.proxy.clone(),
        }
    }
}

fn proxied(report: Option<&ProxyReport>) -> HashMap<(&InstanceId, u64), NetworkBytes> {
    let instances = report.map_or(&[][..], |report| report.instances.as_slice());
    let bytes = |one: &grace_model::report::InstanceReport| NetworkBytes {
        received_bytes: one.counts.received_bytes,
        sent_bytes: one.counts.sent_bytes,
    };
    instances
        .iter()
        .map(|one| ((&one.instance, one.generation), bytes(one)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::resources::Meter;
    use super::super::resources::tests::{me, round};
    use super::*;

    fn found(meter: &mut Meter, second: u64, numbers: std::ops::Range<u32>) -> Found {
        let views: Vec<_> = numbers.map(me).collect();
        Found {
            at: second,
            instances: meter.instances(&views, &round(second)),
            running: views
                .iter()
                .map(|view| (view.id.clone(), view.generation))
                .collect(),
            ..Found::default()
        }
    }

    #[test]
    fn detectors_are_shown_each_look_once_and_views_keep_the_last() {
        let mut meter = Meter::default();
        let mut gauges = Gauges::default();
        gauges.put(found(&mut meter, 1, 0..3));
        assert!(gauges.news().is_empty(), "a first look has no rate");
        gauges.put(found(&mut meter, 2, 0..3));
        gauges.put(found(&mut meter, 3, 0..3));
        let news = gauges.news();
        assert_eq!(news.len(), 3);
        assert!(news.iter().all(|it| it.at == 3), "the newest of each");
        assert!(gauges.news().is_empty());
        assert_eq!(gauges.view().instances.len(), 3);
    }

    #[test]
    fn who_does_not_run_any_more_is_not_shown_any_more() {
        let mut meter = Meter::default();
        let mut gauges = Gauges::default();
        gauges.put(found(&mut meter, 1, 0..3));
        gauges.put(found(&mut meter, 2, 0..2));
        assert_eq!(gauges.view().instances.len(), 2);
        assert_eq!(gauges.news().len(), 2);
        let mut next = found(&mut meter, 3, 0..2);
        // Another process of the second, not looked at yet.
        next.instances.pop();
        next.running = [("shop-000".into(), 3), ("shop-001".into(), 4)].into();
        gauges.put(next);
        assert_eq!(gauges.view().instances.len(), 1);
    }
}
