//! Metrics of services and instances: what the supervisor knows, and what the kernel counts.

use grace_model::instance::{InstanceView, State};
use grace_model::ipc::FleetStatus;
use grace_model::usage::{InstanceUsage, NetworkBytes};

use super::Kind::{Counter, Gauge};
use super::{Kind, Page, Sample, Value, ratio, seconds};

pub(super) fn services(page: &mut Page, fleet: &FleetStatus) {
    page.each(
        Gauge,
        (
            "grace_service_instances",
            "Instances that a service is to have",
        ),
        &fleet.services,
        |it| {
            Some((
                [("service", it.name.as_str())],
                u64::from(it.instances).into(),
            ))
        },
    );
    page.each(
        Gauge,
        (
            "grace_service_instances_ready",
            "Instances of a service that are ready",
        ),
        &fleet.services,
        |it| Some(([("service", it.name.as_str())], u64::from(it.ready).into())),
    );
}

pub(super) fn instances(page: &mut Page, fleet: &FleetStatus) {
    fn labels(it: &InstanceView) -> [(&'static str, &str); 2] {
        [
            ("service", it.service.as_str()),
            ("instance", it.id.as_str()),
        ]
    }
    let all = &fleet.instances;
    page.each(
        Gauge,
        ("grace_instance_ready", "Whether an instance is ready"),
        all,
        |it| Some((labels(it), (it.state == State::Ready).into())),
    );
    page.each(
        Gauge,
        (
            "grace_instance_weight",
            "Share of its service's traffic, in 1/10,000",
        ),
        all,
        |it| Some((labels(it), u64::from(it.weight).into())),
    );
    page.each(
        Counter,
        (
            "grace_instance_restarts_total",
            "Times an instance was started beyond the first",
        ),
        all,
        |it| Some((labels(it), it.restarts.into())),
    );
    page.each(
        Gauge,
        (
            "grace_instance_uptime_seconds",
            "Time since an instance's process was started",
        ),
        all.iter().filter(|it| it.pid != 0),
        |it| Some((labels(it), ratio(it.uptime_ms))),
    );
}

/// Kind, name, description and value of each figure of the kernel.
type Figure = (
    Kind,
    &'static str,
    &'static str,
    fn(&InstanceUsage) -> Option<Value>,
);

const FIGURES: [Figure; 15] = [
    (
        Counter,
        "grace_instance_cpu_seconds_total",
        "Processor time of all processes of an instance",
        |it| Some(seconds(it.usage.cpu_us)),
    ),
    (
        Gauge,
        "grace_instance_resident_memory_bytes",
        "Resident memory; what its processes share counts for each",
        |it| Some(it.usage.rss_bytes.into()),
    ),
    (
        Gauge,
        "grace_instance_memory_bytes",
        "Memory as its control group counts it, without cached files",
        |it| Some(it.usage.memory_bytes.into()),
    ),
    (
        Gauge,
        "grace_instance_memory_limit_bytes",
        "What grace_instance_memory_bytes can grow to",
        |it| it.usage.memory_limit_bytes.map(Value::from),
    ),
    (
        Counter,
        "grace_instance_oom_kills_total",
        "Processes of it that the out-of-memory killer ended",
        |it| it.usage.oom_kills.map(Value::from),
    ),
    (
        Gauge,
        "grace_instance_processes",
        "Processes of an instance",
        |it| Some(it.usage.processes.into()),
    ),
    (
        Gauge,
        "grace_instance_threads",
        "Threads of all its processes",
        |it| Some(it.usage.threads.into()),
    ),
    (
        Gauge,
        "grace_instance_threads_limit",
        "What its processes and threads together can grow to",
        |it| it.usage.threads_limit.map(Value::from),
    ),
    (
        Gauge,
        "grace_instance_open_files",
        "Open files of all its processes",
        |it| it.usage.open_files.map(Value::from),
    ),
    (
        Gauge,
        "grace_instance_fullest_open_files",
        "Open files of its process that is nearest to its limit",
        |it| it.usage.fullest_open_files.map(Value::from),
    ),
    (
        Gauge,
        "grace_instance_fullest_open_files_limit",
        "The limit of open files of that process",
        |it| it.usage.fullest_open_files_limit.map(Value::from),
    ),
    (
        Counter,
        "grace_instance_disk_read_bytes_total",
        "Bytes read from disks",
        |it| it.usage.read_bytes.map(Value::from),
    ),
    (
        Counter,
        "grace_instance_disk_written_bytes_total",
        "Bytes written to disks",
        |it| it.usage.written_bytes.map(Value::from),
    ),
    (
        Gauge,
        "grace_instance_cpu_ratio",
        "Processor use since the look before, of one core",
        |it| it.cpu_permille.map(ratio),
    ),
    (
        Gauge,
        "grace_instance_measured_timestamp_seconds",
        "When the instance was looked at last",
        |it| Some(ratio(it.at)),
    ),
];

pub(super) fn usage(page: &mut Page, all: &[InstanceUsage]) {
    for (kind, name, help, value) in FIGURES {
        page.each(kind, (name, help), all, |it| {
            let labels = [
                ("service", it.service.as_str()),
                ("instance", it.instance.as_str()),
            ];
            Some((labels, value(it)?))
        });
    }
    network(
        page,
        all,
        "grace_instance_network_received_bytes_total",
        "Bytes to an instance: counted at the proxy, or in a network of its own",
        |it| it.received_bytes,
    );
    network(
        page,
        all,
        "grace_instance_network_sent_bytes_total",
        "Bytes from an instance: counted at the proxy, or in a network of its own",
        |it| it.sent_bytes,
    );
}

fn network(
    page: &mut Page,
    all: &[InstanceUsage],
    name: &'static str,
    help: &'static str,
    which: fn(&NetworkBytes) -> u64,
) {
    let mut samples = Vec::new();
    for one in all {
        let counted = [("proxy", one.proxied), ("own", one.usage.own_network)];
        for (by, bytes) in counted {
            if let Some(bytes) = bytes {
                let labels = [
                    ("service", one.service.as_str()),
                    ("instance", one.instance.as_str()),
                    ("counted", by),
                ];
                samples.push(Sample::new(labels, which(&bytes).into()));
            }
        }
    }
    page.family(Counter, name, help, samples);
}
