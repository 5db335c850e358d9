//! Plain TCP services.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use grace_model::config::{Protocol, ProxyVersion};
use grace_model::instance::State;
use grace_os::Signal;

use crate::stage::Stage;
use crate::worker::Worker;

/// A client that speaks in lines.
struct Line(BufReader<TcpStream>);

impl Line {
    fn connect(stage: &Stage) -> Self {
        let stream = TcpStream::connect(stage.addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self(BufReader::new(stream))
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        // A reset is an end too.
        let _ = self.0.read_line(&mut line);
        line.trim_end().to_owned()
    }

    fn say(&mut self, word: &str) {
        writeln!(self.0.get_mut(), "{word}").unwrap();
    }

    /// Who is at the other end.
    fn worker(&mut self) -> String {
        assert_eq!(self.read(), "220 ready", "the instance speaks first");
        self.say("who");
        let said = self.read();
        said.strip_suffix(" who").expect(&said).to_owned()
    }
}

fn stage(workers: usize, out: Option<ProxyVersion>) -> Stage {
    let stage = Stage::with(workers, |table| {
        table.services[0].front.protocol = Protocol::Tcp;
        table.services[0].front.proxy_out = out;
    });
    for worker in &stage.workers {
        worker.mode("raw");
    }
    stage
}

#[test]
fn connections_are_balanced_and_bytes_pass_both_ways_also_when_one_end_has_closed() {
    let stage = stage(3, None);
    let mut lines: Vec<Line> = (0..30).map(|_| Line::connect(&stage)).collect();
    let mut counts = std::collections::HashMap::new();
    for line in &mut lines {
        *counts.entry(line.worker()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(counts.values().all(|count| *count >= 5), "{counts:?}");
    let line = &mut lines[0];
    line.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert!(line.read().ends_with(" bye"), "half of it is still open");
    assert_eq!(line.0.read(&mut [0; 1]).unwrap(), 0);
    // What is big passes as it is.
    let word = "x".repeat(1_000_000);
    lines[1].say(&word);
    assert!(lines[1].read().ends_with(&word));
}

#[test]
fn an_instance_that_cannot_be_reached_costs_no_connection() {
    let mut stage = stage(2, None);
    stage.change(|table| Stage::line(table, 1).process = None);
    stage.workers[0].signal(Signal::Kill);
    stage.workers[0].wait();
    for _ in 0..20 {
        assert_eq!(Line::connect(&stage).worker(), "shop-2");
    }
}

#[test]
fn connections_wait_while_the_only_instance_restarts() {
    let mut stage = stage(1, None);
    stage.workers[0].signal(Signal::Kill);
    stage.workers[0].wait();
    stage.until("its death is noticed", |stage| stage.flag(1, "dead"));
    let mut line = Line::connect(&stage);
    stage.until("it waits", |stage| stage.total("waiting") == 1);
    let worker = Worker::start("shop-1b");
    worker.mode("raw");
    stage.change(|table| {
        let it = Stage::line(table, 1);
        it.generation = 2;
        it.addr = Some(worker.addr);
        it.process = Some(worker.process.clone());
    });
    assert_eq!(line.worker(), "shop-1b");
    assert_eq!(stage.total("waiting"), 0);
}

#[test]
fn a_draining_instance_keeps_its_connections_and_a_fenced_one_loses_them() {
    let mut stage = stage(2, None);
    let mut lines: Vec<Line> = (0..12).map(|_| Line::connect(&stage)).collect();
    let workers: Vec<String> = lines.iter_mut().map(Line::worker).collect();
    stage.change(|table| Stage::line(table, 1).state = State::Draining);
    for _ in 0..10 {
        assert_eq!(Line::connect(&stage).worker(), "shop-2");
    }
    for (line, worker) in lines.iter_mut().zip(&workers) {
        line.say("still");
        assert_eq!(line.read(), format!("{worker} still"));
    }
    stage.change(|table| Stage::line(table, 1).fenced = true);
    for (line, worker) in lines.iter_mut().zip(&workers) {
        if worker == "shop-1" {
            assert_eq!(line.read(), "", "it is closed");
        } else {
            line.say("still");
            assert_eq!(line.read(), "shop-2 still");
        }
    }
    stage.until_heard("that nothing is left on it", |request| {
        matches!(request, grace_model::ipc::Request::Drained { instance, .. } if instance.as_str() == "shop-1")
    });
}

#[test]
fn the_instance_is_told_by_a_proxy_header_who_the_client_is() {
    let stage = stage(1, Some(ProxyVersion::V1));
    let mut line = Line::connect(&stage);
    let me = line.0.get_ref().local_addr().unwrap();
    assert_eq!(line.read(), "220 ready");
    let told = format!(
        "shop-1 PROXY TCP4 127.0.0.1 127.0.0.1 {} {}",
        me.port(),
        stage.addr.port()
    );
    assert_eq!(line.read(), told);
}
