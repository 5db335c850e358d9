//! The load, against servers that behave and servers that do not.

#![allow(clippy::unwrap_used, reason = "what surrounds a test fails it")]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use common::{Worker, wait};
use grace_os::Signal;
use grace_workers::load::{Options, Report, Stop, run};

fn load(addr: SocketAddr, rate: f64, ms: u64, timeout_ms: u64) -> Report {
    let mut options = Options::new(&format!("http://{addr}/hello?a=b"), rate).unwrap();
    options.length = Some(Duration::from_millis(ms));
    options.timeout = Duration::from_millis(timeout_ms);
    run(&options, &Stop::new(), |_| {}).unwrap()
}

/// A server that handles every connection by `serve` and tells the ids that it has read.
fn server(serve: fn(TcpStream, Sender<String>)) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, ids) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || serve(stream, seen));
        }
    });
    (addr, ids)
}

/// Reads one request's head; gives its id.
fn read_id(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    stream
        .read_line(&mut first)
        .ok()
        .filter(|count| *count > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        if line == "\r\n" {
            break;
        }
    }
    let (_, id) = first.split_once("id=")?;
    id.split(' ').next().map(str::to_owned)
}

fn answer(stream: &mut BufReader<TcpStream>, body: &str) {
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.get_mut().write_all(text.as_bytes());
}

#[test]
fn every_request_to_a_good_server_is_counted_as_answered() {
    let worker = Worker::start(&[]);
    let report = load(worker.addr, 300.0, 1_000, 10_000);
    assert_eq!(
        (report.sent, report.ok, report.failed),
        (300, 300, 0),
        "{report:?}"
    );
    assert!(report.p50_us > 0 && report.p50_us <= report.p99_us);
}

#[test]
fn an_error_answer_anothers_answer_and_a_refused_connection_are_failures_with_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.json");
    let mut worker = Worker::start(&["--config", absent.to_str().unwrap()]);
    let report = load(worker.addr, 100.0, 300, 10_000);
    assert_eq!((report.sent, report.ok, report.failed), (30, 0, 30));
    assert_eq!(report.failures.len(), 20);
    assert!(
        report
            .failures
            .iter()
            .all(|failure| failure.reason.contains("500"))
    );
    worker.signal(Signal::Kill);
    worker.end();
    let report = load(worker.addr, 100.0, 100, 10_000);
    assert_eq!((report.ok, report.failed), (0, 10));
    assert!(
        report
            .failures
            .iter()
            .all(|failure| failure.reason.contains("refused"))
    );
    let (addr, _ids) = server(|stream, _| {
        let mut stream = BufReader::new(stream);
        while read_id(&mut stream).is_some() {
            answer(&mut stream, "{\"id\":\"somebody\"}");
        }
    });
    let report = load(addr, 100.0, 100, 10_000);
    assert_eq!((report.ok, report.failed), (0, 10));
    assert!(
        report
            .failures
            .iter()
            .all(|failure| failure.reason.contains("another's"))
    );
}

#[test]
fn a_request_that_was_written_is_never_sent_again() {
    let (addr, ids) = server(|stream, seen| {
        let mut stream = BufReader::new(stream);
        // Answers one, then takes the next one and goes away.
        if let Some(id) = read_id(&mut stream) {
            answer(&mut stream, &id);
            let _ = seen.send(id);
        }
        if let Some(id) = read_id(&mut stream) {
            let _ = seen.send(id);
        }
    });
    let report = load(addr, 200.0, 500, 10_000);
    assert_eq!(report.sent, 100);
    assert_eq!(report.ok + report.failed, 100);
    assert!(report.failed > 0 && report.ok > 0, "{report:?}");
    let mut times: HashMap<String, u32> = HashMap::new();
    for id in ids.try_iter() {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.len(), 100);
    assert!(times.values().all(|count| *count == 1), "{times:?}");
}

#[test]
fn a_connection_that_closes_while_idle_is_no_failure() {
    let (addr, _ids) = server(|stream, _| {
        let mut stream = BufReader::new(stream);
        if let Some(id) = read_id(&mut stream) {
            answer(&mut stream, &id);
        }
    });
    // Two connections and a pause of 50 ms between their uses: the close has arrived by then.
    let mut options = Options::new(&format!("http://{addr}/"), 40.0).unwrap();
    options.length = Some(Duration::from_millis(500));
    options.connections = 2;
    let report = run(&options, &Stop::new(), |_| {}).unwrap();
    assert_eq!((report.sent, report.ok), (20, 20), "{report:?}");
}

#[test]
fn requests_leave_on_time_though_nobody_answers_and_fail_by_their_own_timeout() {
    let (addr, ids) = server(|stream, seen| {
        let mut stream = BufReader::new(stream);
        while let Some(id) = read_id(&mut stream) {
            let _ = seen.send(id);
        }
        let _ = stream.read(&mut [0; 1]);
    });
    let report = load(addr, 100.0, 500, 1_000);
    assert_eq!((report.sent, report.ok, report.failed), (50, 0, 50));
    assert!(report.longest_ms >= 1_000, "{report:?}");
    assert!(
        report
            .failures
            .iter()
            .all(|failure| failure.reason.contains("within 1000 ms"))
    );
    // All were on the wire: none waited for one before it.
    assert_eq!(ids.try_iter().count(), 50);
}

#[test]
fn a_load_tells_its_progress_and_ends_when_it_is_stopped() {
    let worker = Worker::start(&[]);
    let options = Options::new(&format!("http://{}/", worker.addr), 200.0).unwrap();
    let stop = Stop::new();
    let ender = stop.clone();
    let mut seen = Vec::new();
    let report = run(&options, &stop, |progress| {
        seen.push(progress.clone());
        if seen.len() == 2 {
            ender.stop();
        }
    })
    .unwrap();
    assert_eq!(report.failed, 0);
    assert!(seen.first().unwrap().sent < seen.last().unwrap().sent);
    assert!(report.sent >= seen.last().unwrap().sent);
}

#[test]
fn the_program_prints_lines_and_a_report_and_its_exit_code_tells_failures() {
    let start = |url: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_open-load"))
            .args(["--url", url, "--rate", "100"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let worker = Worker::start(&[]);
    let mut child = start(&format!("http://{}/hello", worker.addr), &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(first.get("in_flight").is_some());
    let handle = grace_os::pidfd::open(child.id()).unwrap();
    grace_os::pidfd::send_signal(handle, Signal::Terminate).unwrap();
    let last = lines.map(Result::unwrap).last().unwrap();
    let report: Report = serde_json::from_str(&last).unwrap();
    assert!(report.ok > 0 && report.failed == 0, "{report:?}");
    assert_eq!(wait(&mut child).code(), Some(0));
    let mut failing = start(
        &format!("http://{}/status?code=500", worker.addr),
        &["--for", "200ms"],
    );
    assert_eq!(wait(&mut failing).code(), Some(1));
    assert_eq!(wait(&mut start("ftp://x/", &[])).code(), Some(2));
}
