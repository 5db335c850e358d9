//! What passes through, and how.

use std::collections::HashMap;
use std::io::Write;

use crate::client::Client;
use crate::stage::Stage;

#[test]
fn requests_and_answers_pass_unchanged_but_for_who_asked() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let answer = client.ask(
        "PUT",
        "/echo?a=1",
        "Accept: x/y\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n",
        b"the body",
    );
    let text = answer.text();
    assert!(text.starts_with("PUT /echo?a=1\n"), "{text}");
    for wanted in [
        "host: shop",
        "accept: x/y",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop",
        "the body",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
    for stripped in ["connection:", "x-secret", "te:"] {
        assert!(!text.contains(stripped), "{stripped} went through: {text}");
    }
    assert_eq!(client.get("/").text(), "hello", "the connection is kept");
}

#[test]
fn requests_are_shared_out_by_weight() {
    let stage = Stage::with(2, |table| {
        Stage::line(table, 1).weight = 9_000;
        Stage::line(table, 2).weight = 1_000;
    });
    let mut client = stage.client();
    let mut counts: HashMap<String, u32> = HashMap::new();
    for _ in 0..1_000 {
        *counts
            .entry(client.get("/").worker().to_owned())
            .or_default() += 1;
    }
    // 100 expected for the light one; six deviations to each side.
    let light = counts["shop-2"];
    assert!((40..=160).contains(&light), "{counts:?}");
}

#[test]
fn an_instance_of_weight_zero_gets_nothing() {
    let stage = Stage::with(2, |table| Stage::line(table, 1).weight = 0);
    let mut client = stage.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").worker(), "shop-2");
    }
}

#[test]
fn every_listener_is_accepted_on_also_when_there_are_more_than_threads() {
    let mut stage = Stage::new(1);
    stage.end();
    let listeners =
        grace_os::listen::bind_exclusive_then_reuseport("127.0.0.1:0".parse().unwrap(), 5).unwrap();
    stage.addr = listeners[0].local_addr().unwrap();
    let listeners = listeners
        .into_iter()
        .enumerate()
        .map(|(number, fd)| grace_proxy::Listener {
            service: "shop".into(),
            number,
            fd: fd.into(),
        });
    stage.start(listeners.collect());
    for _ in 0..60 {
        assert_eq!(stage.get("/").status, 200);
    }
}

#[test]
fn bodies_of_any_length_pass_both_ways() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let big = vec![b'y'; 3_000_000];
    assert_eq!(client.ask("POST", "/length", "", &big).text(), "3000000");
    assert_eq!(client.ask("PUT", "/length", "", &big).text(), "3000000");
    assert_eq!(client.get("/big?2000000").body.len(), 2_000_000);
    assert_eq!(client.get("/chunks?5000").body.len(), 5_000 * 6);
    client.send("POST", "/length", "Transfer-Encoding: chunked\r\n", b"");
    for _ in 0..100 {
        client.write("a\r\n0123456789\r\n");
    }
    client.write("0\r\nX-Trailer: 1\r\n\r\n");
    assert_eq!(client.answer("POST").text(), "1000");
    assert_eq!(client.get("/").text(), "hello", "the connection is kept");
}

#[test]
fn a_slow_reader_holds_up_its_instance_and_not_the_proxys_memory() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    client.send("GET", "/big?200000000", "", b"");
    let head = client.read_exact(20);
    assert!(head.starts_with(b"HTTP/1.1 200"));
    // More than the sockets hold is never read from the instance while nobody takes it.
    let mut before = 0;
    stage.until("the flow stands still", |_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = resident();
        let still = now.abs_diff(before) < 64;
        before = now;
        still
    });
    assert!(before < 150_000, "{before} KiB are resident");
}

/// KiB of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn head_and_expect_and_http_1_0_are_understood() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let head = client.ask("HEAD", "/big?1234", "", b"");
    assert_eq!((head.status, head.header("content-length")), (200, "1234"));
    client.send(
        "POST",
        "/length",
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
        b"",
    );
    let told = client.read_exact(25);
    assert_eq!(told, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write("12345");
    assert_eq!(client.answer("POST").text(), "5");

    let mut old = stage.client();
    old.write("GET /chunks?3 HTTP/1.0\r\n\r\n");
    let answer = old.answer("GET");
    assert_eq!(answer.text(), "chunk\nchunk\nchunk\n");
    assert_eq!(answer.header("transfer-encoding"), "");
    assert!(old.is_closed());
}

#[test]
fn requests_sent_in_a_row_without_waiting_are_answered_in_order() {
    let stage = Stage::new(2);
    let mut client = stage.client();
    for number in 0..20 {
        client.send("GET", "/", &format!("X-Id: {number}\r\n"), b"");
    }
    for number in 0..20 {
        assert_eq!(client.answer("GET").header("x-id"), number.to_string());
    }
}

#[test]
fn without_an_instance_the_answer_says_so_and_when_to_come_again() {
    let stage = Stage::new(0);
    let answer = stage.get("/");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(
        answer
            .text()
            .contains("no instance of the service is ready")
    );
}

#[test]
fn a_request_waits_a_moment_for_an_instance_to_come_back() {
    let mut stage = Stage::with(1, |table| {
        Stage::line(table, 1).state = grace_model::instance::State::Starting;
    });
    let mut client = stage.client();
    client.send("POST", "/", "", b"body");
    stage.change(|table| {
        Stage::line(table, 1).state = grace_model::instance::State::Ready;
    });
    assert_eq!(client.answer("POST").status, 200);
}

#[test]
fn degraded_instances_serve_when_no_other_is_ready() {
    let mut stage = Stage::new(2);
    stage.change(|table| {
        Stage::line(table, 1).state = grace_model::instance::State::Degraded;
    });
    for _ in 0..20 {
        assert_eq!(stage.get("/").worker(), "shop-2");
    }
    stage.change(|table| {
        Stage::line(table, 2).state = grace_model::instance::State::Failed;
    });
    assert_eq!(stage.get("/").worker(), "shop-1");
}

#[test]
fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    let stage = Stage::new(1);
    let mut client: Client = stage.client();
    client.send("GET", "/half", "", b"");
    assert!(client.try_answer("GET").is_none());
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let mut stage = Stage::new(1);
    let mut client = stage.client();
    client.send("GET", "/sleep?600000", "X-Id: it\r\n", b"");
    stage.until("the request is in flight", |stage| {
        stage.workers[0].seen("it") == 1
    });
    stage.change(|table| {
        Stage::line(table, 1).state = grace_model::instance::State::Draining;
    });
    client.stream().shutdown(std::net::Shutdown::Both).unwrap();
    drop(client);
    stage.until_heard("nothing is in flight any more", |request| {
        matches!(request, grace_model::ipc::Request::Drained { .. })
    });
}

#[test]
fn a_large_head_is_refused_as_such() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let _ = client.stream().write_all(
        format!(
            "GET / HTTP/1.1\r\nHost: shop\r\nX: {}\r\n\r\n",
            "x".repeat(70_000)
        )
        .as_bytes(),
    );
    assert_eq!(client.answer("GET").status, 431);
    let many = "X: y\r\n".repeat(60) + &format!("Y: {}\r\n", "y".repeat(50_000));
    assert_eq!(stage.client().ask("GET", "/", &many, b"").status, 200);
}
