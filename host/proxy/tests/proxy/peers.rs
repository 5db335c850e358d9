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
