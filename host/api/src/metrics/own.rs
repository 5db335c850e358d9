//! Metrics of Grace itself: its processes, kernels and plugins, incidents, the machine.

use std::collections::BTreeMap;

use grace_model::incident::IncidentState;
use grace_model::port::HostViews;
use grace_model::usage::Measured;

use super::Kind::{Counter, Gauge};
use super::{Page, Sample, Value, ratio, seconds};

/// States of incidents, all told also when there is none.
const STATES: [IncidentState; 6] = [
    IncidentState::Open,
    IncidentState::Diagnosing,
    IncidentState::Healing,
    IncidentState::Verifying,
    IncidentState::Resolved,
    IncidentState::Escalated,
];

pub(super) fn write(page: &mut Page, views: &dyn HostViews, measured: &Measured) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let build = Sample::new(version, Value::Whole(1));
    page.family(
        Gauge,
        "grace_build_info",
        "The version of Grace that runs",
        vec![build],
    );
    processes(page, views, measured);
    kernels(page, views);
    plugins(page, views);
    incidents(page, views);
    machine(page, measured);
}

fn processes(page: &mut Page, views: &dyn HostViews, measured: &Measured) {
    if let Some(fleet) = views.fleet() {
        let all = fleet.processes.iter();
        page.each(
            Gauge,
            (
                "grace_process_running",
                "Whether one of Grace's own processes runs",
            ),
            all.clone(),
            |it| Some(([("process", &it.name)], (it.pid != 0).into())),
        );
        page.each(
            Counter,
            (
                "grace_process_restarts_total",
                "Times a process of Grace was started beyond the first",
            ),
            all,
            |it| Some(([("process", &it.name)], it.restarts.into())),
        );
    }
    let all = measured.processes.iter();
    page.each(
        Counter,
        (
            "grace_process_cpu_seconds_total",
            "Processor time of a process of Grace",
        ),
        all.clone(),
        |it| Some(([("process", &it.name)], seconds(it.cpu_us))),
    );
    page.each(
        Gauge,
        (
            "grace_process_resident_memory_bytes",
            "Resident memory of a process of Grace",
        ),
        all.clone(),
        |it| Some(([("process", &it.name)], it.rss_bytes.into())),
    );
    page.each(
        Gauge,
        ("grace_process_threads", "Threads of a process of Grace"),
        all.clone(),
        |it| Some(([("process", &it.name)], it.threads.into())),
    );
    page.each(
        Gauge,
        (
            "grace_process_open_files",
            "Open files of a process of Grace",
        ),
        all,
        |it| Some(([("process", &it.name)], it.open_files?.into())),
    );
}

fn kernels(page: &mut Page, views: &dyn HostViews) {
    let kernels = views.kernels();
    let all = kernels.iter();
    page.each(
        Gauge,
        ("grace_kernel_running", "Whether a part of Grace runs"),
        all.clone(),
        |it| {
            let labels = [("kernel", it.name.as_str()), ("process", &it.process)];
            Some((labels, (it.state == "running").into()))
        },
    );
    page.each(
        Counter,
        (
            "grace_kernel_restarts_total",
            "Times a part was started beyond the first in its process",
        ),
        all.clone(),
        |it| {
            let labels = [("kernel", it.name.as_str()), ("process", &it.process)];
            Some((labels, it.restarts.into()))
        },
    );
    page.each(
        Counter,
        (
            "grace_kernel_work_total",
            "Things a part did, in a unit of its own",
        ),
        all.clone(),
        |it| {
            let labels = [("kernel", it.name.as_str()), ("process", &it.process)];
            Some((labels, it.work_done.into()))
        },
    );
    page.each(
        Gauge,
        (
            "grace_kernel_heartbeat_age_seconds",
            "Time since a part's last sign of life",
        ),
        all,
        |it| {
            let labels = [("kernel", it.name.as_str()), ("process", &it.process)];
            Some((labels, ratio(it.heartbeat_age_ms)))
        },
    );
}

fn plugins(page: &mut Page, views: &dyn HostViews) {
    let plugins = views.plugins();
    page.each(
        Counter,
        ("grace_plugin_calls_total", "Calls made to a plugin"),
        &plugins,
        |it| Some(([("plugin", it.name.as_str())], it.calls.into())),
    );
    page.each(
        Counter,
        (
            "grace_plugin_failures_total",
            "Calls to a plugin that failed",
        ),
        &plugins,
        |it| Some(([("plugin", it.name.as_str())], it.failures.into())),
    );
}

fn incidents(page: &mut Page, views: &dyn HostViews) {
    let all = views.incidents();
    let mut counts: BTreeMap<&str, u64> = STATES.iter().map(|state| (state.word(), 0)).collect();
    let mut opened = 0;
    for one in &all {
        *counts.entry(one.state.word()).or_default() += 1;
        // They are numbered from 1, and old ones are forgotten.
        let number = one.id.as_str().rsplit('-').next();
        opened = opened.max(number.and_then(|it| it.parse().ok()).unwrap_or(0));
    }
    let counts: Vec<(&str, u64)> = counts.into_iter().collect();
    page.each(
        Gauge,
        ("grace_incidents", "Incidents on record, by state"),
        &counts,
        |(state, count)| Some(([("state", *state)], (*count).into())),
    );
    page.one(
        Counter,
        "grace_incidents_opened_total",
        "Incidents ever opened on this host",
        opened,
    );
}

fn machine(page: &mut Page, measured: &Measured) {
    let Some(host) = measured.host else { return };
    page.one(
        Gauge,
        "grace_host_cpu_ratio",
        "Processor use of the machine, of all cores",
        ratio(host.cpu_permille),
    );
    page.one(
        Gauge,
        "grace_host_memory_ratio",
        "Memory of the machine that a new program could not have",
        ratio(host.memory_permille),
    );
    if let Some(disk) = host.disk_permille {
        page.one(
            Gauge,
            "grace_host_disk_ratio",
            "Use of the disk with the state directory",
            ratio(disk),
        );
    }
    page.one(
        Gauge,
        "grace_host_load1",
        "Load of the machine in the last minute, a core",
        ratio(host.load1_permille),
    );
    page.one(
        Gauge,
        "grace_measured_timestamp_seconds",
        "When resources and traffic were looked at last",
        ratio(measured.at),
    );
}
