//! Instances that die with requests in flight.

use grace_model::event::What;
use grace_model::instance::ExitCause;
use grace_os::Signal;

use crate::client::{Answer, Client};
use crate::stage::Stage;

/// Sends a request that takes its time and gives the number of the worker that has it.
fn in_flight(stage: &Stage, client: &mut Client, method: &str, body: &[u8]) -> usize {
    client.send(method, "/sleep?1000", "X-Id: it\r\n", body);
    let mut found = 0;
    stage.until("the request is with a worker", |stage| {
        let with = (0..stage.workers.len()).find(|at| stage.workers[*at].seen("it") > 0);
        found = with.map_or(0, |at| at + 1);
        found > 0
    });
    found
}

/// Kills the worker that has the request, and tells the proxy as the supervisor does.
fn kill(stage: &mut Stage, number: usize, signal: Signal) {
    let worker = &mut stage.workers[number - 1];
    worker.signal(signal);
    let cause = worker.wait();
    stage.tell_death(number, cause);
}

fn total_seen(stage: &Stage, but: usize) -> u32 {
    let others = stage
        .workers
        .iter()
        .enumerate()
        .filter(|(at, _)| at + 1 != but);
    others.map(|(_, worker)| worker.seen("it")).sum()
}

fn suspect(answer: &Answer) -> bool {
    answer.status == 502 && answer.header("x-grace-error") == "suspect"
}

#[test]
fn a_request_whose_instance_was_killed_is_answered_by_another() {
    let mut stage = Stage::new(3);
    for (method, body) in [("GET", &b""[..]), ("PUT", b"small")] {
        let mut client = stage.client();
        let number = in_flight(&stage, &mut client, method, body);
        kill(&mut stage, number, Signal::Kill);
        let answer = client.answer(method);
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(
            total_seen(&stage, number),
            1,
            "{method} was tried once more and no more"
        );
        stage.workers.remove(number - 1);
        stage.table.services[0].instances.remove(number - 1);
        stage.change(|_| {});
        for worker in &stage.workers {
            worker.mode("ok");
        }
        // A new id for the next round: the survivors remember the old one.
        if method == "GET" {
            let mut fresh = Stage::new(3);
            std::mem::swap(&mut fresh, &mut stage);
        }
    }
    assert_eq!(stage.total("second_tries"), 1);
}

#[test]
fn a_killed_instance_gets_no_request_although_nobody_said_so() {
    let mut stage = Stage::new(2);
    stage.workers[0].signal(Signal::Kill);
    stage.workers[0].wait();
    stage.until("its death is noticed", |stage| stage.flag(1, "dead"));
    let mut client = stage.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").worker(), "shop-2");
    }
    assert_eq!(stage.total("second_tries"), 0);
}

#[test]
fn a_request_whose_instance_died_of_its_own_is_a_suspect_and_not_tried_again() {
    let mut stage = Stage::new(3);
    for path in ["/abort", "/exit"] {
        let mut client = stage.client();
        client.send("GET", path, "X-Id: it\r\n", b"");
        let mut number = 0;
        stage.until("a worker is dead", |stage| {
            number = (1..=3)
                .find(|number| stage.flag(*number, "dead"))
                .unwrap_or(0);
            number > 0
        });
        let cause = stage.workers[number - 1].wait();
        assert!(!cause.external());
        stage.tell_death(number, cause);
        let answer = client.answer("GET");
        assert!(suspect(&answer), "{answer:?}");
        stage.until_journalled(
            "the suspects",
            |what| matches!(what, What::Suspects { requests, .. } if *requests == [format!("GET {path}")]),
        );
        // The dead one leaves the table, as it does when it is restarted.
        stage.table.services[0]
            .instances
            .retain(|it| it.id.as_str() != format!("shop-{number}"));
        stage.change(|_| {});
    }
    assert_eq!(stage.total("suspects"), 2);
    assert_eq!(stage.total("second_tries"), 0);
}

#[test]
fn an_out_of_memory_kill_makes_suspects_though_the_signal_is_the_same() {
    let mut stage = Stage::new(2);
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "GET", b"");
    // The supervisor, which reads the counters, is the first to know.
    stage.tell_death(number, ExitCause::Oom);
    let worker = &mut stage.workers[number - 1];
    worker.signal(Signal::Kill);
    worker.wait();
    assert!(suspect(&client.answer("GET")));
}

#[test]
fn a_death_is_noticed_by_its_event_though_nobody_probes() {
    let hour = 3_600_000;
    let mut stage = Stage::with(2, |table| {
        table.services[0].probe = Some(grace_model::ipc::TableProbe {
            interval_ms: hour,
            start_interval_ms: hour,
            ..crate::stage::probe()
        });
    });
    // Each is looked at once, at the beginning, and not again for an hour.
    stage.until("the only probes", |stage| stage.total("probes") == 2);
    stage.workers[0].signal(Signal::Kill);
    stage.workers[0].wait();
    stage.until("its death is noticed", |stage| stage.flag(1, "dead"));
    assert_eq!(stage.total("probes"), 2, "not by a probe");
    assert_eq!(stage.total("requests"), 0, "and not by a request");
}

#[test]
fn a_cause_that_nobody_tells_holds_no_request_up_for_ever() {
    let mut stage = Stage::new(2);
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "GET", b"");
    // The line to the supervisor stands, and nothing comes on it.
    assert_eq!(stage.stats()["linked"], true);
    stage.workers[number - 1].signal(Signal::Kill);
    stage.workers[number - 1].wait();
    let answer = client.answer("GET");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.worker(), format!("shop-{number}"));
}

#[test]
fn without_the_supervisors_word_the_kernels_counts() {
    let mut stage = Stage::new(2);
    stage.supervisor.die();
    stage.until("the loss is noticed", |stage| {
        stage.stats()["linked"] == false
    });
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "GET", b"");
    stage.workers[number - 1].signal(Signal::Kill);
    let answer = client.answer("GET");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.worker(), format!("shop-{number}"));
}

#[test]
fn a_post_is_never_sent_twice() {
    let mut stage = Stage::new(3);
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "POST", b"order");
    kill(&mut stage, number, Signal::Kill);
    let answer = client.answer("POST");
    assert_eq!(
        (answer.status, answer.header("x-grace-error")),
        (502, "broke-off")
    );
    assert_eq!(total_seen(&stage, number), 0);
    assert_eq!(stage.total("second_tries"), 0);
}

#[test]
fn a_body_beyond_the_buffer_is_not_sent_twice() {
    let mut stage = Stage::with(3, |table| table.proxy.retry_body_bytes = 1_000);
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "PUT", &[b'x'; 1_001]);
    kill(&mut stage, number, Signal::Kill);
    assert_eq!(client.answer("PUT").status, 502);
    assert_eq!(total_seen(&stage, number), 0);
}

#[test]
fn a_port_that_nobody_listens_on_costs_no_request_of_any_method() {
    let stage = Stage::with(2, |table| {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // The process lives, its port does not answer.
        Stage::line(table, 1).addr = Some(gone.local_addr().unwrap());
        table.proxy.eject_failures = 1_000;
    });
    let mut client = stage.client();
    for _ in 0..30 {
        assert_eq!(client.ask("POST", "/", "", b"order").status, 200);
    }
}

#[test]
fn a_request_is_never_tried_a_third_time() {
    let stage = Stage::new(3);
    for worker in &stage.workers {
        worker.mode("close");
    }
    let mut client = stage.client();
    let answer = client.ask("GET", "/", "X-Id: it\r\n", b"");
    assert_eq!(answer.status, 502);
    for worker in &stage.workers {
        worker.mode("ok");
    }
    let seen: u32 = stage.workers.iter().map(|worker| worker.seen("it")).sum();
    assert_eq!(seen, 2);
}

#[test]
fn with_second_tries_off_there_are_none() {
    let mut stage = Stage::with(3, |table| table.proxy.retry = false);
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "GET", b"");
    kill(&mut stage, number, Signal::Kill);
    assert_eq!(client.answer("GET").status, 502);
    assert_eq!(total_seen(&stage, number), 0);
}

#[test]
fn second_tries_end_with_their_budget() {
    let stage = Stage::with(2, |table| table.proxy.eject_failures = 1_000_000);
    stage.workers[0].mode("close");
    stage.workers[1].mode("close");
    let mut client = stage.client();
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 502);
    }
    let (made, denied) = (stage.total("second_tries"), stage.total("over_budget"));
    assert_eq!(made + denied, 100);
    assert!(denied > 0, "{made} second tries were made");
}

#[test]
fn the_only_instance_may_come_back_in_time() {
    let mut stage = Stage::new(1);
    let mut client = stage.client();
    let number = in_flight(&stage, &mut client, "GET", b"");
    kill(&mut stage, number, Signal::Kill);
    let worker = crate::worker::Worker::start("shop-1b");
    stage.change(|table| {
        let line = Stage::line(table, 1);
        line.generation = 2;
        line.addr = Some(worker.addr);
        line.process = Some(worker.process.clone());
    });
    let answer = client.answer("GET");
    // A second to come back is short for a loaded machine; both ends are honest.
    assert!(
        answer.worker() == "shop-1b" || answer.status == 502,
        "{answer:?}"
    );
    assert_eq!(stage.get("/").worker(), "shop-1b");
}

#[test]
fn idle_connections_that_an_instance_closed_lose_no_post() {
    let mut stage = Stage::new(1);
    let mut client = stage.client();
    for round in 0..5 {
        assert_eq!(client.get("/").status, 200);
        // Its connections close with it; the next one on the same port has none.
        let addr = stage.workers[0].addr;
        stage.workers[0].signal(Signal::Kill);
        stage.workers[0].wait();
        stage.workers[0] = crate::worker::Worker::start("shop-1");
        let worker = (stage.workers[0].addr, stage.workers[0].process.clone());
        assert_ne!(worker.0, addr);
        stage.change(|table| {
            let line = Stage::line(table, 1);
            line.generation = 2 + round;
            (line.addr, line.process) = (Some(worker.0), Some(worker.1.clone()));
        });
        assert_eq!(client.ask("POST", "/", "", b"order").status, 200);
    }
}

#[test]
fn kills_under_load_lose_no_get() {
    let mut stage = Stage::with(4, |table| table.proxy.threads = 2);
    let addr = stage.addr;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load: Vec<_> = (0..12)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = client.get("/sleep?5");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    for round in 0..12 {
        let number = round % 4 + 1;
        // So many in between that the budget has enough for the next ones.
        let before = stage.total("requests");
        stage.until("load", |stage| stage.total("requests") > before + 200);
        kill(&mut stage, number, Signal::Kill);
        let worker = crate::worker::Worker::start(&format!("shop-{number}"));
        stage.change(|table| {
            let line = Stage::line(table, number);
            line.generation += 1;
            (line.addr, line.process) = (Some(worker.addr), Some(worker.process.clone()));
        });
        stage.workers[number - 1] = worker;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let stats = stage.stats();
    for thread in load {
        assert!(thread.join().is_ok(), "{stats}");
    }
}
