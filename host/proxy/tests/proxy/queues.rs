//! Requests that wait for an instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grace_os::Signal;

use crate::client::Client;
use crate::stage::Stage;
use crate::worker::Worker;

/// The first instance again, as another process.
fn replace(stage: &mut Stage, worker: &Worker) {
    let (addr, process) = (worker.addr, worker.process.clone());
    stage.change(|table| {
        let line = Stage::line(table, 1);
        line.generation += 1;
        line.addr = Some(addr);
        line.process = Some(process);
    });
}

fn kill(stage: &mut Stage) {
    stage.workers[0].signal(Signal::Kill);
    let cause = stage.workers[0].wait();
    stage.tell_death(1, cause);
    stage.until("its death is noticed", |stage| stage.flag(1, "dead"));
}

#[test]
fn requests_wait_while_the_only_instance_restarts_and_none_that_may_be_sent_again_fails() {
    let mut stage = Stage::with(1, |table| {
        table.proxy.threads = 2;
        table.proxy.queue_timeout_ms = 60_000;
    });
    let addr = stage.addr;
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get("/sleep?5");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let before = stage.total("requests");
        stage.until("load", |stage| stage.total("requests") > before + 100);
        kill(&mut stage);
        stage.until("all of them wait", |stage| stage.total("waiting") == 8);
        // Nothing was sent of it, so a POST waits too.
        let mut post = stage.client();
        post.send("POST", "/", "", b"order");
        stage.until("it waits too", |stage| stage.total("waiting") == 9);
        let worker = Worker::start("shop-1");
        replace(&mut stage, &worker);
        stage.workers[0] = worker;
        assert_eq!(post.answer("POST").status, 200);
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    assert_eq!(stage.total("waiting"), 0);
}

#[test]
fn no_more_requests_wait_than_may() {
    let mut stage = Stage::with(1, |table| {
        table.proxy.queue_timeout_ms = 60_000;
        table.proxy.queue_requests = 2;
    });
    kill(&mut stage);
    let mut waiting = [stage.client(), stage.client()];
    for client in &mut waiting {
        client.send("GET", "/", "", b"");
    }
    stage.until("both wait", |stage| stage.total("waiting") == 2);
    let answer = stage.get("/");
    assert_eq!(
        (answer.status, answer.header("x-grace-error")),
        (503, "queue-full")
    );
    assert_eq!(answer.header("retry-after"), "1");
    let worker = Worker::start("shop-1");
    replace(&mut stage, &worker);
    for client in &mut waiting {
        assert_eq!(client.answer("GET").status, 200);
    }
}

#[test]
fn waiting_requests_take_no_more_memory_than_they_may() {
    let mut stage = Stage::with(1, |table| {
        table.proxy.queue_timeout_ms = 60_000;
        table.proxy.queue_bytes = 50_000;
    });
    kill(&mut stage);
    let mut first = stage.client();
    first.send("PUT", "/length", "", &[b'x'; 40_000]);
    stage.until("it waits", |stage| stage.total("waiting") == 1);
    let mut second = stage.client();
    let answer = second.ask("PUT", "/length", "", &[b'x'; 40_000]);
    assert_eq!(answer.header("x-grace-error"), "queue-full");
    let mut small = stage.client();
    small.send("GET", "/", "", b"");
    stage.until("a small one fits", |stage| stage.total("waiting") == 2);
    let worker = Worker::start("shop-1");
    replace(&mut stage, &worker);
    assert_eq!(first.answer("PUT").text(), "40000");
    assert_eq!(small.answer("GET").status, 200);
}

#[test]
fn a_request_that_waits_in_vain_is_answered_503_with_when_to_come_back() {
    let mut stage = Stage::with(1, |table| table.proxy.queue_timeout_ms = 200);
    kill(&mut stage);
    let answer = stage.get("/");
    assert_eq!(
        (answer.status, answer.header("x-grace-error")),
        (503, "no-instance")
    );
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(stage.total("waiting"), 0);
}
