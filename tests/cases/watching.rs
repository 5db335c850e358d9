//! Watching a host: metrics for scrapers, and what detectors are shown of resources.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::exposition::{self, Page};
use crate::harness::{Host, eventually, eventually_some, get, signal};

/// An address that nobody has now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// What a scraper gets.
fn scraped(addr: SocketAddr) -> Option<Page> {
    let answer = get(addr, "/metrics").ok()?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Some(exposition::read(&answer.body).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn metrics_of_a_living_fleet_hold_its_traffic_its_resources_and_its_restarts() {
    let addr = free();
    let host = Host::shop(2, &format!("[metrics]\nlisten = \"{addr}\"\n"));
    let shop = host.up();
    let first = eventually_some("both instances are measured", || {
        let page = scraped(addr)?;
        let of = |id| page.value("grace_instance_cpu_ratio", &[("instance", id)]);
        (of("shop-1").is_some() && of("shop-2").is_some()).then_some(page)
    });
    for number in 0..60 {
        let path = format!("/hello?id={number}");
        assert_eq!(get(shop, &path).expect("an answer").status, 200);
    }
    let sum = |page: &Page, name: &str| -> f64 {
        ["shop-1", "shop-2"]
            .iter()
            .filter_map(|id| page.value(name, &[("instance", id), ("service", "shop")]))
            .sum()
    };
    let page = eventually_some("the traffic is counted", || {
        let page = scraped(addr)?;
        (sum(&page, "grace_instance_requests_total") >= 60.0).then_some(page)
    });
    let service = [("service", "shop")];
    assert_eq!(page.value("grace_requests_total", &service), Some(60.0));
    assert!(page.value("grace_first_byte_seconds_count", &service) >= Some(60.0));
    assert_eq!(
        page.value("grace_service_instances_ready", &service),
        Some(2.0)
    );
    assert!(sum(&page, "grace_instance_resident_memory_bytes") > 2e6);
    assert!(sum(&page, "grace_instance_open_files") >= 8.0);
    assert!(sum(&page, "grace_instance_threads") >= 2.0);
    let sent = eventually_some("the bytes are counted", || {
        let page = scraped(addr)?;
        let sent: f64 = page
            .samples
            .iter()
            .filter(|it| it.name == "grace_instance_network_sent_bytes_total")
            .map(|it| it.value)
            .sum();
        (sent > 60.0 * 50.0).then_some(sent)
    });
    assert!(sent < 60.0 * 5_000.0, "{sent}");
    for process in ["keeper", "supervisor", "proxy", "healer"] {
        let of = [("process", process)];
        assert_eq!(page.value("grace_process_running", &of), Some(1.0));
        assert!(page.value("grace_process_resident_memory_bytes", &of) > Some(1e6));
    }
    // The proxy's own kernels are told too.
    assert_eq!(
        page.value("grace_kernel_running", &[("kernel", "health-monitor")]),
        Some(1.0)
    );

    // Sixty paths, and not a series more for any of them.
    let new: Vec<_> = page.series().difference(&first.series()).cloned().collect();
    assert!(new.is_empty(), "{new:?}");

    signal("KILL", host.pid("shop-1"));
    host.incident("shop-1", "resolved");
    let page = eventually_some("the death is counted", || {
        let page = scraped(addr)?;
        let of = [("instance", "shop-1")];
        (page.value("grace_instance_restarts_total", &of) == Some(1.0)).then_some(page)
    });
    assert!(page.value("grace_incidents_opened_total", &[]) >= Some(1.0));

    // The command prints the same families.
    let printed = host.run(&["metrics"]).good().stdout;
    let printed = exposition::read(&printed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(printed.series(), scraped(addr).expect("metrics").series());
    let families = host.json(&["metrics"]);
    let count = families["families"].as_array().map(Vec::len);
    assert_eq!(count, Some(printed.kinds.len()));

    // A healer that is away keeps nobody from the next one's metrics.
    let healer = host.process("healer");
    signal("KILL", healer);
    eventually("metrics are back", || get(addr, "/metrics").is_ok());
    host.down();
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let test = "promtool_finds_nothing_wrong_with_the_metrics";
    let Some(promtool) = grace_needs::tool(test, "promtool", "apt-get install prometheus") else {
        return;
    };
    let host = Host::shop(1, "");
    host.up();
    let text = eventually_some("the instance is measured", || {
        let run = host.run(&["metrics"]);
        run.stdout
            .contains("grace_instance_cpu_ratio{")
            .then_some(run.stdout)
    });
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), text.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    host.down();
}

#[test]
fn an_instance_that_runs_out_of_open_files_is_found_before_it_fails() {
    // Ten of eleven: 0 to 9, with one left for the loader of `sleep`.
    let files: Vec<String> = (3..10).map(|fd| format!("{fd}</dev/null")).collect();
    let script = format!("exec {}; exec sleep 600", files.join(" "));
    let host = Host::new(&format!(
        "[healing]\nplaybooks = false\n\n[[service]]\nname = \"full\"\ncommand = [\"sh\", \"-c\", {script:?}]\n\
         ready = {{ process = true }}\nlimits = {{ files = 11 }}\n"
    ));
    host.up();
    let incident = host.incident("full-1", "open");
    assert_eq!(incident["finding"]["kind"], "resource-pressure");
    let summary = incident["finding"]["summary"].as_str().expect("a summary");
    assert!(
        summary.contains("10 open files, 90 % of its limit of 11"),
        "{summary}"
    );
    host.down();
}

#[test]
fn metrics_beyond_the_loopback_or_on_a_services_address_are_refused() {
    for (listen, says) in [
        ("0.0.0.0:9090", "not of its loopback"),
        ("192.0.2.1:9090", "not of its loopback"),
        ("127.0.0.1:8080", "use another port"),
        ("9090", "has no port"),
    ] {
        let host = Host::shop(1, "");
        let toml = Host::shop_toml(1, &format!("[metrics]\nlisten = \"{listen}\"\n"));
        host.write(&toml.replace("127.0.0.1:0", "127.0.0.1:8080"));
        let run = host.run(&["up", "-d"]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains(says), "{listen}: {run:?}");
    }
}
