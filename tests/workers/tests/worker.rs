//! The sample worker, asked as a client asks it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what surrounds a test fails it"
)]

mod common;

use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use common::{LONG, Worker, command, get, send, until, wait};
use grace_os::Signal;
use grace_os::notify::NotifySocket;
use grace_os::spawn::Spawn;

#[test]
fn an_answer_has_the_requests_id_and_the_workers_pid_on_any_path() {
    let worker = Worker::start(&[]);
    let (status, body) = worker.get("/hello?x=1&id=abc");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(body["id"], "abc");
    assert_eq!(body["pid"], worker.child.id());
    assert_eq!(body["greeting"], "hello");
    assert_eq!(worker.get("/status?code=503&id=x").0, 503);
    assert_eq!(worker.get("/slow?ms=1&id=x").0, 200);
    let echo =
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nback";
    assert_eq!(send(worker.addr, echo).unwrap(), (200, "back".to_owned()));
}

#[test]
fn a_wrong_configuration_shows_in_traffic_only_and_a_right_one_heals_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.json");
    fs::write(&path, r#"{"greeting": "good day", "delay_ms": 0}"#).unwrap();
    let worker = Worker::start(&["--config", path.to_str().unwrap()]);
    assert!(worker.get("/hello?id=1").1.contains("good day"));
    fs::write(&path, r#"{"greeting": "goo"#).unwrap();
    let (status, body) = worker.get("/hello?id=2");
    assert_eq!(status, 500);
    assert!(body.contains("shop.json"), "{body}");
    assert_eq!(worker.get("/healthz").0, 200);
    fs::remove_file(&path).unwrap();
    assert_eq!(worker.get("/").0, 500);
    fs::write(&path, r#"{"greeting": "good again"}"#).unwrap();
    assert!(worker.get("/hello?id=3").1.contains("good again"));
}

#[test]
fn a_process_told_to_break_answers_errors_until_it_is_a_new_one() {
    let worker = Worker::start(&[]);
    assert_eq!(worker.get("/break?errors=1").0, 200);
    assert_eq!(worker.get("/hello?id=1").0, 500);
    assert_eq!(worker.get("/healthz").0, 200);
    assert_eq!(Worker::start(&[]).get("/hello?id=1").0, 200);
    assert_eq!(worker.get("/break").0, 200);
    assert_eq!(worker.get("/hello?id=1").0, 200);
}

#[test]
fn a_process_told_to_hold_memory_holds_it_and_bytes_are_as_many_as_asked() {
    let worker = Worker::start(&[]);
    let used = || {
        let text = fs::read_to_string(format!("/proc/{}/statm", worker.child.id())).unwrap();
        let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    let before = used();
    assert_eq!(worker.get("/break?hold_mib=32").0, 200);
    assert!(used() >= before + (32 << 20));
    assert_eq!(worker.get("/break").0, 200);
    assert!(used() < before + (32 << 20));
    let (status, body) = worker.get("/bytes?count=100000");
    assert_eq!((status, body.len()), (200, 100_000));
}

#[test]
fn every_post_that_is_begun_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders");
    let worker = Worker::start(&["--orders", path.to_str().unwrap()]);
    worker.get("/echo?id=1");
    for id in [2, 3] {
        let text = format!(
            "POST /echo?id={id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(send(worker.addr, &text).unwrap().0, 200);
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "/echo?id=2\n/echo?id=3\n"
    );
}

#[test]
fn it_crashes_aborts_dies_and_fails_its_start_when_told() {
    for (path, code, signal) in [("/crash", Some(3), None), ("/abort", None, Some(6))] {
        let mut worker = Worker::start(&[]);
        assert!(get(worker.addr, path).is_err());
        let status = worker.end();
        assert_eq!((status.code(), status.signal()), (code, signal), "{path}");
    }
    assert_eq!(
        Worker::start(&["--die-after-ms", "50"]).end().code(),
        Some(1)
    );
    let fails = |args: &[&str]| wait(&mut command(args).spawn().unwrap()).code();
    assert_eq!(fails(&["--fail-start", "--port", "0"]), Some(1));
    assert_eq!(fails(&["--prot", "0"]), Some(2));
}

#[test]
fn a_hang_accepts_connections_answers_nobody_and_needs_sigkill() {
    is_hung(Worker::start(&["--hang-after-ms", "200"]));
    let told = Worker::start(&[]);
    assert_eq!(told.get("/break?hang=1").0, 200);
    is_hung(told);
}

fn is_hung(mut worker: Worker) {
    let mut stuck = None;
    until("a hang", || {
        let mut stream = TcpStream::connect(worker.addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let hung = stream.read(&mut [0; 16]).is_err();
        stuck = Some(stream);
        hung
    });
    worker.signal(Signal::Terminate);
    assert!(TcpStream::connect(worker.addr).is_ok());
    assert!(stuck.unwrap().read(&mut [0; 16]).is_err());
    assert!(worker.child.try_wait().unwrap().is_none());
    worker.signal(Signal::Kill);
    assert_eq!(worker.end().signal(), Some(9));
}

#[test]
fn sigterm_ends_it_after_the_requests_in_flight_and_closes_idle_connections() {
    let mut worker = Worker::start(&[]);
    let addr = worker.addr;
    let mut idle = TcpStream::connect(addr).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
    let mut busy = TcpStream::connect(addr).unwrap();
    busy.write_all(b"GET /slow?ms=700&id=last HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    // A second answer on the first connection shows that the busy one was accepted too.
    idle.write_all(b"GET /slow?ms=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
    worker.signal(Signal::Terminate);
    idle.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(idle.read(&mut [0; 16]).unwrap(), 0);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"id\":\"last\""), "{answer}");
    assert_eq!(worker.end().code(), Some(0));
}

#[test]
fn it_takes_an_inherited_socket_and_tells_that_it_is_ready_and_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let notify = NotifySocket::bind_abstract(&format!("shop-test-{}", std::process::id())).unwrap();
    let child = Spawn::new(env!("CARGO_BIN_EXE_shop-worker"))
        .args(["--ready-notify"])
        .env("NOTIFY_SOCKET", notify.address())
        .env("WATCHDOG_USEC", "20000")
        .listen_fds([("shop", listener.as_fd())])
        .start()
        .unwrap();
    let mut messages = Vec::new();
    until("three messages", || {
        messages.extend(notify.receive().unwrap());
        messages.len() >= 3
    });
    assert!(messages[0].is_ready());
    assert!(messages[1..].iter().all(|message| message.is_heartbeat()));
    assert!(messages.iter().all(|message| message.pid == child.pid));
    assert!(get(addr, "/?id=7").unwrap().1.contains("\"id\":\"7\""));
    grace_os::pidfd::send_signal(&child.handle, Signal::Terminate).unwrap();
    let status = grace_os::wait::wait_pid(child.pid).unwrap().unwrap();
    assert_eq!(status, grace_os::wait::WaitStatus::Exited(0));
}

#[test]
fn a_websocket_echoes_answers_pings_and_closes() {
    let worker = Worker::start(&[]);
    assert_eq!(worker.get("/ws").0, 426);
    let mut stream = TcpStream::connect(worker.addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let handshake = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    // Text of 200 bytes, so with a long length; ping; close. All masked.
    let mut exchange = |opcode: u8, payload: &[u8], answer: u8| {
        let mut frame = vec![0x80 | opcode];
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        stream.write_all(&frame).unwrap();
        let head = if payload.len() < 126 { 2 } else { 4 };
        let mut back = vec![0; head + payload.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back[0], 0x80 | answer);
        assert_eq!(&back[head..], payload);
    };
    exchange(1, &[b'a'; 200], 1);
    exchange(9, b"are you there", 10);
    exchange(8, &[0x03, 0xE8], 8);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn its_lines_are_numbered_without_a_hole() {
    let mut worker = Worker::start(&["--log-rate", "2000"]);
    let pid = worker.child.id();
    let mut last = None;
    for _ in 0..1_000 {
        let mut line = String::new();
        worker.out.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            (words[0], words[3]),
            ("line", pid.to_string().as_str()),
            "{line}"
        );
        let number: u64 = words[1].parse().unwrap();
        assert!(last.is_none_or(|last| number == last + 1), "{line}");
        last = Some(number);
    }
}
