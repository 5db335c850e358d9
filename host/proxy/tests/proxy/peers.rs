//! Whom the proxy speaks with, and how: PROXY headers of clients, Unix sockets of instances.

use std::net::SocketAddr;

use crate::stage::Stage;
use crate::worker::Worker;

/// A version 2 header for 10.1.2.3:4 to 10.5.6.7:80.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\x05\x06\x07\0\x04\0\x50";

#[test]
fn a_proxy_header_says_who_the_client_is() {
    let stage = Stage::with(1, |table| table.services[0].front.proxy_in = true);
    let text = b"PROXY TCP4 10.1.2.3 10.5.6.7 4 80\r\n";
    for header in [&text[..], BINARY] {
        let mut client = stage.client();
        client.write(header);
        for _ in 0..2 {
            let echo = client.get("/echo").text();
            assert!(echo.contains("x-forwarded-for: 10.1.2.3\r"), "{echo}");
        }
        // In one write with the request, and byte by byte.
        let request = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = stage.client();
        client.write([header, request].concat());
        assert!(client.answer("GET").text().contains("10.1.2.3"));
        let mut client = stage.client();
        for byte in [header, request].concat() {
            client.write([byte]);
        }
        assert!(client.answer("GET").text().contains("10.1.2.3"));
    }
    let mut own = stage.client();
    own.write("PROXY UNKNOWN\r\n");
    assert!(
        own.get("/echo")
            .text()
            .contains("x-forwarded-for: 127.0.0.1")
    );
}

#[test]
fn a_connection_whose_proxy_header_is_missing_or_unreadable_is_closed() {
    let stage = Stage::with(1, |table| {
        table.services[0].front.proxy_in = true;
        table.proxy.head_timeout_ms = 300;
    });
    let none = "GET / HTTP/1.1\r\nHost: a\r\nX-Id: it\r\n\r\n";
    for bytes in [none, "PROXY TCP4 nonsense\r\n", "PROXY TCP4 10.1"] {
        let mut client = stage.client();
        client.write(bytes);
        assert!(client.is_closed(), "{bytes:?}");
    }
    assert_eq!(stage.total("refused"), 2, "the third is out of time");
    assert_eq!(stage.workers[0].seen("it"), 0);
}

#[test]
fn instances_on_unix_sockets_are_probed_and_served_and_left_when_they_die() {
    let mut stage = Stage::new(1);
    let path = |number: u32| stage.dir().join(format!("{number}.sock"));
    let paths = [path(1), path(2)];
    let mut workers: Vec<Worker> = paths
        .iter()
        .zip(["unix-1", "unix-2"])
        .map(|(path, name)| Worker::start_unix(name, path))
        .collect();
    stage.change(|table| {
        let service = &mut table.services[0];
        service.probe = Some(crate::stage::probe());
        let mut other = service.instances[0].clone();
        other.id = "shop-2".into();
        service.instances.push(other);
        for ((line, worker), path) in service.instances.iter_mut().zip(&workers).zip(&paths) {
            line.generation = 2;
            line.addr = None::<SocketAddr>;
            line.unix = Some(path.clone());
            line.process = Some(worker.process.clone());
        }
    });
    stage.until("they are probed", |stage| stage.total("probes") > 4);
    let bad = stage
        .supervisor
        .heard()
        .into_iter()
        .any(|request| matches!(request, grace_model::ipc::Request::Health { ok: false, .. }));
    assert!(!bad, "every probe passed");
    let mut client = stage.client();
    let names: std::collections::HashSet<String> = (0..40)
        .map(|_| client.get("/").worker().to_owned())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    workers[0].signal(grace_os::Signal::Kill);
    workers[0].wait();
    for _ in 0..20 {
        assert_eq!(client.get("/").worker(), "unix-2");
    }
    // The socket's file is still there and nobody listens.
    assert!(paths[0].exists());
}

#[test]
fn without_the_key_a_proxy_header_is_no_request() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    client.write("PROXY TCP4 10.1.2.3 10.5.6.7 4 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("GET").status, 400);
}

const SAID: &str = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\n\
                    X-Forwarded-Host: www.shop\r\nForwarded: for=1.2.3.4\r\n";

#[test]
fn what_a_client_says_of_others_passes_only_from_proxies_that_are_trusted() {
    let mut stage = Stage::new(1);
    let echo = stage.client().ask("GET", "/echo", SAID, b"").text();
    for wanted in [
        "x-forwarded-for: 127.0.0.1\r",
        "x-forwarded-proto: http\r",
        "x-forwarded-host: shop\r",
    ] {
        assert!(echo.contains(wanted), "{wanted:?} is missing in {echo}");
    }
    assert!(!echo.contains("1.2.3.4"), "{echo}");
    stage.change(|table| {
        table.services[0].front.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let echo = stage.client().ask("GET", "/echo", SAID, b"").text();
    for wanted in [
        "x-forwarded-for: 1.2.3.4, 127.0.0.1\r",
        "x-forwarded-proto: https\r",
        "x-forwarded-host: www.shop\r",
        "x-real-ip: 1.2.3.4\r",
        "forwarded: for=1.2.3.4\r",
    ] {
        assert!(echo.contains(wanted), "{wanted:?} is missing in {echo}");
    }
}

#[test]
fn behind_a_proxy_header_it_is_the_client_it_names_who_is_trusted_or_not() {
    let stage = Stage::with(1, |table| {
        let front = &mut table.services[0].front;
        front.proxy_in = true;
        front.trusted_proxies = vec!["10.1.0.0/16".parse().unwrap()];
    });
    for (client, passes) in [("10.1.2.3", true), ("10.2.2.3", false)] {
        let mut connection = stage.client();
        connection.write(format!("PROXY TCP4 {client} 10.5.6.7 4 80\r\n"));
        let echo = connection.ask("GET", "/echo", SAID, b"").text();
        assert_eq!(echo.contains("x-real-ip"), passes, "{client}: {echo}");
        assert!(echo.contains(&format!("{client}\r")), "{echo}");
    }
}

/// The trace context that an instance was given.
fn traced(stage: &Stage, headers: &str) -> (String, bool) {
    let echo = stage.client().ask("GET", "/echo", headers, b"").text();
    let line = echo
        .lines()
        .find_map(|line| line.strip_prefix("traceparent: "));
    (
        line.unwrap_or_default().trim().to_owned(),
        echo.contains("tracestate: a=1"),
    )
}

#[test]
fn a_trace_goes_through_with_a_parent_id_a_hop_and_is_made_where_there_is_none() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let good = format!("Traceparent: 00-{trace}-00f067aa0ba902b7-01\r\nTracestate: a=1\r\n");
    let mut stage = Stage::new(1);
    let (one, state) = traced(&stage, &good);
    let (two, _) = traced(&stage, &good);
    assert!(
        one.starts_with(&format!("00-{trace}-")) && one.ends_with("-01"),
        "{one}"
    );
    assert!(state);
    assert!(
        one != two && !one.contains("00f067aa0ba902b7"),
        "{one} {two}"
    );
    for bad in ["", "Traceparent: 00-nonsense\r\nTracestate: a=1\r\n"] {
        let (made, state) = traced(&stage, bad);
        assert!(made.len() == 55 && !made.contains(trace), "{made:?}");
        assert!(!state);
    }
    stage.change(|table| table.services[0].front.trace = grace_model::config::Trace::Pass);
    assert_eq!(traced(&stage, "").0, "");
    let (same, _) = traced(&stage, &good);
    assert_eq!(same, format!("00-{trace}-00f067aa0ba902b7-01"));
}
