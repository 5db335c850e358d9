//! Metrics of the load balancer: totals, services, instances.

use grace_model::report::{
    Counts, InstanceReport, ProxyReport, ServiceReport, TIME_BOUNDS_US, Totals,
};

use super::Kind::{Counter, Gauge, Histogram};
use super::{Page, Sample, Value, seconds};

/// Name, description and value of each total that only rises.
type Total = (&'static str, &'static str, fn(&Totals) -> u64);

/// The same of an instance.
type Count = (&'static str, &'static str, fn(&Counts) -> u64);

const TOTALS: [Total; 14] = [
    (
        "grace_second_tries_total",
        "Requests given to a second instance, hedges too",
        |it| it.second_tries,
    ),
    (
        "grace_hedges_total",
        "Requests given to a second instance while the first was silent",
        |it| it.hedges,
    ),
    (
        "grace_second_tries_over_budget_total",
        "Second tries that the budget did not allow",
        |it| it.over_budget,
    ),
    (
        "grace_suspect_requests_total",
        "Requests answered 502 because their instance died of its own under them",
        |it| it.suspects,
    ),
    (
        "grace_failed_requests_total",
        "Requests that ended in 502 or 504 for any other cause",
        |it| it.failed,
    ),
    (
        "grace_unserved_requests_total",
        "Requests answered 503 because there was no instance",
        |it| it.no_instance,
    ),
    (
        "grace_refused_requests_total",
        "Requests refused as malformed",
        |it| it.refused,
    ),
    (
        "grace_slow_connections_total",
        "Connections closed because one end stood still in a body",
        |it| it.too_slow,
    ),
    (
        "grace_client_connections_total",
        "Connections taken from clients",
        |it| it.clients,
    ),
    (
        "grace_upstream_connections_total",
        "Connections made to instances",
        |it| it.dials,
    ),
    (
        "grace_tunnels_total",
        "Upgraded and plain TCP connections",
        |it| it.tunnels,
    ),
    (
        "grace_ejections_total",
        "Times the load balancer took an instance out of rotation by its own judgement",
        |it| it.ejections,
    ),
    ("grace_probes_total", "Health probes made", |it| it.probes),
    (
        "grace_proxy_events_lost_total",
        "Events of the load balancer that found no room in its journal",
        |it| it.events_lost,
    ),
];

pub(super) fn write(page: &mut Page, report: &ProxyReport) {
    for (name, help, value) in TOTALS {
        page.one(Counter, name, help, value(&report.totals));
    }
    services(page, &report.services);
    instances(page, &report.instances);
}

fn services(page: &mut Page, all: &[ServiceReport]) {
    page.each(
        Counter,
        (
            "grace_requests_total",
            "Requests taken from clients; connections for plain TCP",
        ),
        all,
        |it| Some(([("service", it.service.as_str())], it.requests.into())),
    );
    page.each(
        Gauge,
        (
            "grace_requests_waiting",
            "Requests that wait for an instance",
        ),
        all,
        |it| Some(([("service", it.service.as_str())], it.waiting.into())),
    );
    let mut samples = Vec::new();
    for one in all {
        let shed = &one.shed;
        for (class, count) in [
            ("high", shed.high),
            ("normal", shed.normal),
            ("low", shed.low),
        ] {
            let labels = [("service", one.service.as_str()), ("class", class)];
            samples.push(Sample::new(labels, count.into()));
        }
    }
    page.family(
        Counter,
        "grace_shed_requests_total",
        "Requests answered 503 because no instance had room, by class",
        samples,
    );
    let mut samples = Vec::new();
    for one in all {
        histogram(&mut samples, one.service.as_str(), &one.counts);
    }
    page.family(
        Histogram,
        "grace_first_byte_seconds",
        "Time from giving a request to an instance to the first byte of its answer",
        samples,
    );
}

fn histogram(samples: &mut Vec<Sample>, service: &str, counts: &Counts) {
    let times = &counts.times;
    let mut below = 0;
    for (class, count) in times.counts.iter().enumerate() {
        below += count;
        let le = TIME_BOUNDS_US
            .get(class)
            .map_or_else(|| "+Inf".to_owned(), |bound| bound_text(*bound));
        samples.push(Sample {
            suffix: "_bucket",
            ..Sample::new([("service", service), ("le", &le)], below.into())
        });
    }
    samples.push(Sample {
        suffix: "_sum",
        ..Sample::new([("service", service)], seconds(times.sum_us))
    });
    samples.push(Sample {
        suffix: "_count",
        ..Sample::new([("service", service)], below.into())
    });
}

fn bound_text(us: u64) -> String {
    match seconds(us) {
        Value::Real(value) => value.to_string(),
        Value::Whole(value) => value.to_string(),
    }
}

fn labels(it: &InstanceReport) -> [(&'static str, &str); 2] {
    [
        ("service", it.service.as_str()),
        ("instance", it.instance.as_str()),
    ]
}

fn instances(page: &mut Page, all: &[InstanceReport]) {
    // Two processes of an instance may be known at a time; the newest tells.
    let mut newest: Vec<&InstanceReport> = all.iter().collect();
    newest.sort_by_key(|it| (&it.instance, std::cmp::Reverse(it.generation)));
    newest.dedup_by_key(|it| &it.instance);
    let counters: [Count; 3] = [
        (
            "grace_instance_requests_total",
            "Requests given to this process of the instance, second tries too",
            |it| it.requests,
        ),
        (
            "grace_instance_errors_total",
            "Answers of 500 and above, and answers that broke off",
            |it| it.errors,
        ),
        (
            "grace_instance_unanswered_total",
            "Requests that the instance never answered",
            |it| it.unanswered,
        ),
    ];
    for (name, help, value) in counters {
        page.each(Counter, (name, help), newest.iter().copied(), |it| {
            Some((labels(it), value(&it.counts).into()))
        });
    }
    page.each(
        Gauge,
        (
            "grace_instance_requests_inflight",
            "Requests given to the instance whose answers had not begun",
        ),
        newest.iter().copied(),
        |it| Some((labels(it), u64::from(it.inflight).into())),
    );
    page.each(
        Gauge,
        (
            "grace_instance_requests_open",
            "Requests and connections that were not over at the end of the last half second",
        ),
        newest.iter().copied(),
        |it| Some((labels(it), it.open.into())),
    );
    page.each(
        Gauge,
        (
            "grace_instance_concurrency_limit",
            "Requests at once that the load balancer gives the instance",
        ),
        newest.iter().copied(),
        |it| Some((labels(it), u64::from(it.limit?).into())),
    );
    page.each(
        Gauge,
        (
            "grace_instance_ejected",
            "Whether the load balancer has it out of rotation by its own judgement",
        ),
        newest.iter().copied(),
        |it| Some((labels(it), it.ejected.into())),
    );
}
