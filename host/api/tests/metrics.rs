//! Metrics over a real socket and a real TCP listener, read strictly.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod exposition;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use grace_api::client::Client;
use grace_model::govern::{Approval, GovernanceView, Order};
use grace_model::incident::Incident;
use grace_model::ipc::FleetStatus;
use grace_model::plugin::ActionInfo;
use grace_model::port::{
    ArtifactView, HostViews, IncidentChanges, PlaybookRun, PlaybookView, Story,
};
use grace_model::report::{Counts, InstanceReport, ProxyReport, ServiceReport, ShedReport, Totals};
use grace_model::status::{Kernel, PluginView};
use grace_model::usage::{InstanceUsage, Measured, NetworkBytes, Usage};
use serde_json::{Value, json};

/// A host with one service of one instance, with a name that nobody should choose.
struct Odd;

const ODD: &str = "a\"b\\c\nd";

impl HostViews for Odd {
    fn fleet(&self) -> Option<FleetStatus> {
        serde_json::from_value(json!({
            "processes": [{ "name": "proxy", "pid": 7, "restarts": 2 }],
            "instances": [{ "id": ODD, "service": "shop", "pid": 10, "port": 0, "role": "active",
                "state": "ready", "weight": 10_000, "generation": 4, "uptime_ms": 61_500, "restarts": 3 }],
            "services": [{ "name": "shop", "listen": null, "instances": 2, "ready": 1 }],
            "kernels": [],
        }))
        .ok()
    }
    fn incidents(&self) -> Vec<Incident> {
        Vec::new()
    }
    fn incidents_version(&self) -> u64 {
        0
    }
    fn incidents_at(&self) -> (u64, Vec<Incident>) {
        (0, Vec::new())
    }
    fn incident_changes(&self, _after: u64) -> Option<IncidentChanges> {
        None
    }
    fn story(&self, _id: &str) -> Option<Story> {
        None
    }
    fn playbooks(&self) -> Vec<PlaybookView> {
        Vec::new()
    }
    fn plugins(&self) -> Vec<PluginView> {
        Vec::new()
    }
    fn actions(&self) -> Vec<ActionInfo> {
        Vec::new()
    }
    fn kernels(&self) -> Vec<Kernel> {
        vec![Kernel {
            name: "api".into(),
            process: "healer".into(),
            tier: 3,
            state: "running".into(),
            depends_on: Vec::new(),
            heartbeat_age_ms: 250,
            restarts: 1,
            work_done: 9,
        }]
    }
    fn measured(&self) -> Measured {
        let mut counts = Counts {
            requests: 3,
            errors: 1,
            received_bytes: 70,
            sent_bytes: 90,
            ..Counts::default()
        };
        for us in [400, 7_000, 99_000_000] {
            counts.times.record(us);
        }
        let of = |generation| InstanceReport {
            instance: ODD.into(),
            service: "shop".into(),
            generation,
            dead: false,
            ejected: true,
            stopped: false,
            fenced: false,
            share: 100,
            limit: Some(12),
            inflight: 2,
            open: 3,
            counts,
        };
        Measured {
            at: 1_700_000_000_500,
            host: None,
            processes: Vec::new(),
            instances: vec![InstanceUsage {
                instance: ODD.into(),
                service: "shop".into(),
                generation: 4,
                at: 1_700_000_000_000,
                cpu_permille: Some(125),
                usage: Usage {
                    cpu_us: 1_500_000,
                    memory_bytes: 5,
                    own_network: Some(NetworkBytes::default()),
                    ..Usage::default()
                },
                proxied: Some(NetworkBytes {
                    received_bytes: 70,
                    sent_bytes: 90,
                }),
            }],
            proxy: Some(ProxyReport {
                pid: 7,
                threads: 2,
                linked: true,
                table_version: Some(1),
                totals: Totals {
                    second_tries: 5,
                    ejections: 6,
                    no_instance: 8,
                    ..Totals::default()
                },
                services: vec![ServiceReport {
                    service: "shop".into(),
                    requests: 11,
                    waiting: 1,
                    shed: ShedReport {
                        low: 4,
                        ..ShedReport::default()
                    },
                    counts,
                }],
                // Two processes of one instance are one series.
                instances: vec![of(3), of(4)],
                certificates: Vec::new(),
                kernels: Vec::new(),
            }),
        }
    }
    fn run_playbook(&self, _: &str, _: &str, _: bool) -> Result<PlaybookRun, String> {
        Err("none".into())
    }
    fn artifacts(&self) -> Result<Vec<ArtifactView>, String> {
        unreachable!()
    }
    fn snapshot_artifacts(&self, _: Option<&str>, _: &str) -> Result<Vec<ArtifactView>, String> {
        unreachable!()
    }
    fn governance(&self) -> GovernanceView {
        unreachable!("nobody asks here")
    }
    fn approvals(&self) -> Vec<Approval> {
        Vec::new()
    }
    fn order(&self, _: &Order, _: &str, _: &str) -> Result<GovernanceView, String> {
        Err("none".into())
    }
    fn answer(&self, _: &str, _: bool, _: &str, _: &str) -> Result<Approval, String> {
        Err("none".into())
    }
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn metrics_on_the_socket_pass_a_strict_reader_and_hold_what_the_views_hold() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = socket.clone();
    runtime.spawn(async move { grace_api::serve(&path, Arc::new(Odd), Arc::default()).await });
    let client = Client::new(&socket, Duration::from_secs(20));
    let text = client.get_text("/metrics").unwrap();
    let page = exposition::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let of = [("instance", ODD), ("service", "shop")];
    for (name, labels, value) in [
        ("grace_requests_total", &[("service", "shop")][..], 11.0),
        ("grace_second_tries_total", &[], 5.0),
        ("grace_ejections_total", &[], 6.0),
        ("grace_unserved_requests_total", &[], 8.0),
        ("grace_shed_requests_total", &[("class", "low")], 4.0),
        ("grace_instance_concurrency_limit", &of, 12.0),
        ("grace_instance_cpu_seconds_total", &of, 1.5),
        ("grace_instance_cpu_ratio", &of, 0.125),
        ("grace_instance_uptime_seconds", &of, 61.5),
        ("grace_instance_restarts_total", &of, 3.0),
        ("grace_instance_requests_total", &of, 3.0),
        ("grace_instance_ejected", &of, 1.0),
        ("grace_service_instances_ready", &[("service", "shop")], 1.0),
        ("grace_process_restarts_total", &[("process", "proxy")], 2.0),
        ("grace_kernel_restarts_total", &[("kernel", "api")], 1.0),
        ("grace_incidents", &[("state", "open")], 0.0),
        (
            "grace_first_byte_seconds_count",
            &[("service", "shop")],
            3.0,
        ),
        ("grace_first_byte_seconds_bucket", &[("le", "0.01")], 2.0),
    ] {
        assert_eq!(page.value(name, labels), Some(value), "{name}\n{text}");
    }
    let network = "grace_instance_network_sent_bytes_total";
    assert_eq!(page.value(network, &[("counted", "proxy")]), Some(90.0));
    assert_eq!(page.value(network, &[("counted", "own")]), Some(0.0));
    // What the kernel does not tell is not there, and not zero.
    assert_eq!(page.value("grace_instance_memory_limit_bytes", &[]), None);
    let labels: std::collections::BTreeSet<&str> = page
        .samples
        .iter()
        .flat_map(|it| it.labels.keys().map(String::as_str))
        .collect();
    let known = [
        "class", "counted", "instance", "kernel", "le", "plugin", "process", "service", "state",
        "version",
    ];
    assert!(labels.iter().all(|it| known.contains(it)), "{labels:?}");
    assert_eq!(page.series().len(), page.samples.len());
    // The same as JSON.
    let families: Value = client.get("/v1/metrics").unwrap();
    assert_eq!(
        families["families"].as_array().unwrap().len(),
        page.kinds.len()
    );
}

#[test]
fn the_listener_for_scrapers_has_metrics_and_nothing_else_and_waits_for_its_address() {
    // Somebody has the address.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        grace_api::serve_metrics(addr, Arc::new(Odd), move |it| {
            let _ = tell.send(it.map_err(|error| error.to_string()));
        })
        .await
    });
    let long = Duration::from_secs(30);
    assert!(told.recv_timeout(long).unwrap().is_err());
    drop(taken);
    assert_eq!(told.recv_timeout(long).unwrap(), Ok(addr));
    let answer = get(addr, "/metrics");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    exposition::read(body).unwrap();
    for path in ["/", "/v1", "/v1/status", "/v1/incidents", "/metrics/x"] {
        assert!(get(addr, path).starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn the_strict_reader_refuses_what_the_format_does_not_allow() {
    let head = "# HELP a_total A\n# TYPE a_total counter\n";
    exposition::read(&format!("{head}a_total{{x=\"1\"}} 2\n")).unwrap();
    for bad in [
        "a_total 1\n",
        "# TYPE a_total counter\na_total 1\n",
        "# HELP a_total \n# TYPE a_total counter\na_total 1\n",
        "# HELP a A\n# TYPE a counter\na 1\n",
        "# HELP a_total A\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a_ms A\n# TYPE a_ms gauge\na_ms 1\n",
        "# HELP a A\n# TYPE a thing\na 1\n",
        "# HELP a A\na 1\n",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(
        [
            "a_total 1",
            "a_total x\n",
            "a_total  1\n",
            "a_total -1\n",
            "b_total 1\n",
            "a_total 1\na_total 2\n",
            "a_total{x=\"1\",x=\"2\"} 1\n",
            "a_total{1x=\"1\"} 1\n",
            "a_total{x=\"a\\q\"} 1\n",
            "a_total{x=\"1\" 1\n",
            "# a comment\n",
            "# HELP a_total A\n# TYPE a_total counter\na_total 1\n",
        ]
        .map(|rest| format!("{head}{rest}")),
    )
    .chain(
        [
            "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
            "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
            "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n",
            "h_bucket{le=\"+Inf\"} 1\nh_count 1\n",
            "h 1\n",
        ]
        .map(|rest| format!("# HELP h H\n# TYPE h histogram\n{rest}")),
    ) {
        assert!(exposition::read(&bad).is_err(), "{bad:?}");
    }
}
