//! More requests than the instances can serve, and more than one would think they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use grace_model::config::{Class, Priority};

use crate::client::Client;
use crate::stage::Stage;

/// By a header: who pays comes first, what is done in batches comes last.
fn priorities(table: &mut grace_model::ipc::Table) {
    let rule = |class, header: &str| Priority {
        class,
        header: Some("x-class".to_owned()),
        value: Some(header.to_owned()),
        ..Priority::default()
    };
    table.services[0].front.priority = vec![rule(Class::High, "pay"), rule(Class::Low, "batch")];
}

/// Clients of a class that ask one request after another until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    away: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(stage: &Stage, clients: usize, class: &'static str) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            good: Arc::default(),
            away: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..clients {
            let addr = stage.addr;
            let stop = Arc::clone(&load.stop);
            let (good, away) = (Arc::clone(&load.good), Arc::clone(&load.away));
            load.threads.push(std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(Ordering::Relaxed) {
                    let answer =
                        client.ask("GET", "/work?20", &format!("X-Class: {class}\r\n"), b"");
                    if answer.status == 200 {
                        good.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    assert_eq!(answer.status, 503, "{class}: {}", answer.text());
                    assert_eq!(answer.header("x-grace-error"), "overloaded");
                    let after: u32 = answer.header("retry-after").parse().unwrap();
                    assert!((1..=3).contains(&after), "{after}");
                    away.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        load
    }

    fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    fn away(&self) -> u64 {
        self.away.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn shed(stage: &Stage, class: &str) -> u64 {
    stage.stats()["services"][0]["shed"][class]
        .as_u64()
        .unwrap()
}

#[test]
fn far_beyond_capacity_the_important_are_served_the_others_are_sent_away_and_all_return() {
    for threads in [1, 2] {
        let stage = Stage::with(1, |table| {
            priorities(table);
            table.proxy.threads = threads;
            table.proxy.limit_wait_ms = 150;
        });
        let low = Load::start(&stage, 60, "batch");
        stage.until("some are sent away", |_| low.away() > 50);
        let high = Load::start(&stage, 2, "pay");
        let before = low.good();
        stage.until("the important are served, and others are", |_| {
            high.good() > 100 && low.away() > 200 && low.good() > before + 20
        });
        assert_eq!(high.away(), 0);
        let stats = stage.stats();
        let limit = stats["instances"][0]["limit"].as_u64().unwrap();
        assert!((4..60).contains(&limit), "{limit}");
        assert_eq!(shed(&stage, "high"), 0);
        assert!(shed(&stage, "low") > 200 && stage.total("shed") > 200);
        low.end();
        high.end();
        stage.until("nobody waits", |stage| stage.total("waiting") == 0);
        let before = stage.total("shed");
        let again = Load::start(&stage, 2, "batch");
        stage.until("all are served again", |_| again.good() > 50);
        again.end();
        assert_eq!(stage.total("shed"), before);
    }
}

#[test]
fn without_the_limit_all_of_them_are_on_the_instance_at_once() {
    let stage = Stage::with(1, |table| {
        priorities(table);
        table.proxy.limit = false;
    });
    let low = Load::start(&stage, 60, "batch");
    stage.until("they are all inside", |stage| {
        stage.stats()["instances"][0]["inflight"].as_u64().unwrap() > 50
    });
    assert!(stage.stats()["instances"][0]["limit"].is_null());
    low.end();
    assert_eq!(stage.total("shed"), 0);
}

#[test]
fn an_instance_that_serves_many_at_once_is_given_as_many_as_come() {
    // It answers none before all of them are there, so a limit below that would never let go.
    let stage = Stage::with(1, |table| table.proxy.limit_wait_ms = 60_000);
    let all: Vec<_> = (0..200)
        .map(|_| {
            let addr = stage.addr;
            std::thread::spawn(move || Client::connect(addr).get("/gather?200").status)
        })
        .collect();
    for one in all {
        assert_eq!(one.join().unwrap(), 200);
    }
    assert_eq!(stage.total("shed"), 0);
    assert_eq!(stage.total("waiting"), 0);
}

#[test]
fn a_full_instance_holds_up_nobody_while_another_has_room() {
    let stage = Stage::with(2, |table| {
        table.proxy.limit_wait_ms = 60_000;
        table.proxy.hedge_ms = 60_000;
    });
    // Sixteen on each are always free; more of them than one may have.
    let all: Vec<_> = (0..24)
        .map(|_| {
            let addr = stage.addr;
            std::thread::spawn(move || Client::connect(addr).get("/sleep?1000").status)
        })
        .collect();
    for one in all {
        assert_eq!(one.join().unwrap(), 200);
    }
    assert_eq!(stage.total("shed"), 0);
}
