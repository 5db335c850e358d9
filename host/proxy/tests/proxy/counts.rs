//! What the proxy counts of services and instances: requests, times and bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use grace_model::config::Protocol;
use grace_model::report::{InstanceReport, ProxyReport};

use crate::stage::Stage;

fn report(stage: &Stage) -> ProxyReport {
    serde_json::from_value(stage.stats()).unwrap()
}

fn instance(stage: &Stage, id: &str) -> InstanceReport {
    let mut all = report(stage).instances.into_iter();
    all.find(|it| it.instance.as_str() == id).unwrap()
}

#[test]
fn bytes_to_and_from_an_instance_are_counted_heads_and_bodies() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let body = vec![b'x'; 300_000];
    for _ in 0..3 {
        let answer = client.ask("POST", "/echo", "", &body);
        assert!(answer.body.ends_with(&body), "{}", answer.body.len());
    }
    // More than the bodies, by heads of less than a kibibyte each.
    let expected = 900_000..903_000;
    stage.until("the last window is in", |stage| {
        let counts = instance(stage, "shop-1").counts;
        counts.requests == 3 && expected.contains(&counts.sent_bytes)
    });
    let one = instance(&stage, "shop-1");
    assert!(expected.contains(&one.counts.received_bytes), "{one:?}");
    assert_eq!((one.counts.errors, one.counts.unanswered), (0, 0));
    let all = report(&stage);
    let service = all.services.first().unwrap();
    assert_eq!(service.counts, one.counts);
    assert_eq!(service.requests, 3);
}

#[test]
fn each_instances_bytes_and_times_are_its_own_and_a_slow_answer_is_in_a_slow_class() {
    let stage = Stage::with(2, |table| table.proxy.hedge_ms = 60_000);
    let mut client = stage.client();
    for _ in 0..8 {
        assert_eq!(client.get("/sleep?110").status, 200);
    }
    stage.until("all are in", |stage| {
        report(stage).services[0].counts.times.total() >= 8
    });
    let all = report(&stage);
    let sum: u64 = all.instances.iter().map(|it| it.counts.requests).sum();
    assert_eq!(sum, all.services[0].counts.requests);
    for one in &all.instances {
        let times = one.counts.times;
        assert_eq!(times.total(), one.counts.requests, "{one:?}");
        // It takes more than 100 ms: nothing of it is in a class below.
        let fast: u64 = times.counts.iter().take(8).sum();
        assert_eq!(fast, 0, "{one:?}");
        assert!(times.sum_us >= 100_000 * times.total(), "{one:?}");
    }
}

#[test]
fn bytes_of_a_tcp_connection_are_counted_while_it_is_open() {
    let stage = Stage::with(1, |table| table.services[0].front.protocol = Protocol::Tcp);
    stage.workers[0].mode("raw");
    let mut stream = TcpStream::connect(stage.addr).unwrap();
    let mut hello = [0; 10];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"220 ready\n");
    let mut line = vec![b'y'; 50_000];
    line.push(b'\n');
    stream.write_all(&line).unwrap();
    let mut back = vec![0; "shop-1 ".len() + line.len()];
    stream.read_exact(&mut back).unwrap();
    stage.until("the open connection is counted to the byte", |stage| {
        let counts = instance(stage, "shop-1").counts;
        counts.received_bytes == 50_001 && counts.sent_bytes == 10 + back.len() as u64
    });
    assert_eq!(instance(&stage, "shop-1").open, 1);
}

#[test]
fn what_an_instance_did_wrong_is_counted_for_it_and_an_ejection_once() {
    let stage = Stage::new(2);
    stage.workers[0].mode("fail");
    for _ in 0..12 {
        stage.get("/");
    }
    stage.until("it is out", |stage| stage.flag(1, "ejected"));
    stage.until("its errors are in", |stage| {
        instance(stage, "shop-1").counts.errors >= 3
    });
    assert_eq!(instance(&stage, "shop-2").counts.errors, 0);
    assert!(report(&stage).totals.ejections >= 1);
}
