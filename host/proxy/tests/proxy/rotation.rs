//! Out of the rotation and back, and what the probes say.

use grace_model::event::What;
use grace_model::instance::State;
use grace_model::ipc::Request;

use crate::stage::{Stage, probe};

#[test]
fn an_instance_that_fails_in_a_row_is_ejected_and_returns_by_a_trial() {
    let stage = Stage::with(3, |table| table.services[0].probe = Some(probe()));
    stage.workers[0].mode("fail");
    let mut client = stage.client();
    stage.until("it is ejected", |stage| {
        assert_eq!(client.get("/").status, 200);
        stage.flag(1, "ejected")
    });
    stage.until_journalled(
        "why",
        |what| matches!(what, What::Ejected { reason, .. } if reason.contains("server errors")),
    );
    let answers: Vec<String> = (0..20)
        .map(|_| client.get("/").worker().to_owned())
        .collect();
    assert!(
        !answers.contains(&"shop-1".to_owned()),
        "its probe passes, but it stays out"
    );
    stage.workers[0].mode("ok");
    stage.until("a trial brought it back", |stage| {
        assert_eq!(client.get("/").status, 200);
        !stage.flag(1, "ejected")
    });
    stage.until_journalled("its return", |what| matches!(what, What::Returned { .. }));
}

#[test]
fn a_failed_trial_costs_no_request() {
    let stage = Stage::with(2, |table| table.services[0].probe = Some(probe()));
    stage.workers[0].mode("fail");
    let mut client = stage.client();
    let start = std::time::Instant::now();
    // Long enough for the first trial, after a second.
    while start.elapsed() < std::time::Duration::from_millis(2_500) {
        assert_eq!(client.get("/").status, 200);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(stage.flag(1, "ejected"));
}

#[test]
fn the_last_usable_instance_is_never_ejected() {
    let stage = Stage::new(1);
    stage.workers[0].mode("fail");
    let mut client = stage.client();
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 500);
    }
    assert!(!stage.flag(1, "ejected"));

    let stage = Stage::new(3);
    for worker in &stage.workers {
        worker.mode("close");
    }
    let mut client = stage.client();
    for _ in 0..60 {
        assert_eq!(client.get("/").status, 502);
    }
    let out = (1..=3)
        .filter(|number| stage.flag(*number, "ejected"))
        .count();
    assert_eq!(out, 2);
}

#[test]
fn server_errors_of_all_take_out_half_of_them_at_most() {
    let stage = Stage::new(4);
    for worker in &stage.workers {
        worker.mode("fail");
    }
    let mut client = stage.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 500);
    }
    let out = (1..=4)
        .filter(|number| stage.flag(*number, "ejected"))
        .count();
    assert!(out <= 2, "{out} of 4 are out");
}

#[test]
fn probes_tell_the_supervisor_who_is_ready_and_who_is_not() {
    let stage = Stage::with(2, |table| {
        table.services[0].probe = Some(probe());
        Stage::line(table, 1).state = State::Starting;
    });
    let told = |number: usize, wanted: bool| {
        move |request: &Request| {
            matches!(request, Request::Health { instance, generation: 1, ok, .. }
                if instance.as_str() == format!("shop-{number}") && *ok == wanted)
        }
    };
    stage.until_heard("the first is ready", told(1, true));
    stage.until_heard("the second too", told(2, true));
    stage.workers[1].mode("sick");
    stage.until_heard("the second is not any more", told(2, false));
    stage.until_journalled("the probe", |what| {
        matches!(what, What::Probe { ok: false, status: 503, subject, .. }
            if subject.instance.as_str() == "shop-2")
    });
    stage.supervisor.forget();
    stage.workers[1].mode("ok");
    stage.until_heard("and now it is", told(2, true));
}

#[test]
fn a_supervisor_that_comes_back_hears_all_verdicts_again() {
    let mut stage = Stage::with(1, |table| table.services[0].probe = Some(probe()));
    let ready = |request: &Request| matches!(request, Request::Health { ok: true, .. });
    stage.until_heard("it is ready", ready);
    stage.supervisor.die();
    stage.supervisor.forget();
    stage.until("the loss is noticed", |stage| {
        stage.stats()["linked"] == false
    });
    assert_eq!(stage.get("/").status, 200, "the last table still holds");
    stage.supervisor.live();
    stage.until_heard("it is ready, again", ready);
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn a_reused_pid_is_not_taken_for_the_instance() {
    let stage = Stage::with(2, |table| {
        if let Some(process) = &mut Stage::line(table, 1).process {
            process.start_time += 1;
        }
    });
    assert!(stage.flag(1, "dead"));
    for _ in 0..20 {
        assert_eq!(stage.get("/").worker(), "shop-2");
    }
}

#[test]
fn tables_that_change_under_load_lose_no_request() {
    let mut stage = Stage::with(3, |table| table.proxy.threads = 2);
    let addr = stage.addr;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut client = crate::client::Client::connect(addr);
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(client.ask("POST", "/", "", b"order").status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    for round in 0..60 {
        stage.change(|table| {
            for number in 1..=3 {
                let line = Stage::line(table, number);
                line.weight = 1_000 + round;
                line.state = if number as u32 == round % 3 + 1 {
                    State::Draining
                } else {
                    State::Ready
                };
            }
        });
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent: u32 = load.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(sent > 0);
    assert_eq!(u64::from(sent), stage.total("requests"));
}

#[test]
fn of_two_or_three_instances_that_all_answer_errors_one_is_out_and_the_others_serve() {
    for count in [2, 3] {
        let stage = Stage::with(count, |table| table.proxy.eject_failures = 2);
        for worker in &stage.workers {
            worker.mode("fail");
        }
        let mut client = stage.client();
        let out = |stage: &Stage| (1..=count).filter(|it| stage.flag(*it, "ejected")).count();
        stage.until("one is out", |stage| {
            client.ask("POST", "/", "", b"x");
            out(stage) == 1
        });
        for _ in 0..40 {
            assert_eq!(client.ask("POST", "/", "", b"x").status, 500, "not refused");
        }
        assert!(out(&stage) <= 1, "of {count}");
    }
}

/// The share of its weight that an instance gets.
fn share(stage: &Stage, number: usize) -> u64 {
    let stats = stage.stats();
    let id = format!("shop-{number}");
    let instances = stats["instances"].as_array().unwrap();
    let it = instances.iter().find(|it| it["instance"] == *id).unwrap();
    it["share"].as_u64().unwrap()
}

/// The first of two instances was ejected and is back, with the first share of a long ramp.
fn returned() -> Stage {
    let mut stage = Stage::with(2, |table| {
        table.proxy.ramp_ms = 600_000;
        table.proxy.eject_failures = 2;
    });
    assert_eq!((share(&stage, 1), share(&stage, 2)), (100, 100));
    stage.workers[0].mode("fail");
    let mut client = stage.client();
    stage.until("it is ejected", |stage| {
        client.get("/");
        stage.flag(1, "ejected")
    });
    stage.workers[0].mode("ok");
    stage.until("it is back", |stage| {
        client.get("/");
        !stage.flag(1, "ejected")
    });
    assert_eq!((share(&stage, 1), share(&stage, 2)), (10, 100));
    stage.change(|table| table.proxy.eject_failures = 1_000_000);
    stage
}

#[test]
fn an_instance_that_comes_back_gets_its_share_by_and_by() {
    let mut stage = returned();
    let mut client = stage.client();
    let mut served = || {
        (0..550)
            .filter(|_| client.get("/").worker() == "shop-1")
            .count()
    };
    let few = served();
    // 50 expected; six deviations to each side.
    assert!((8..=92).contains(&few), "{few} of 550");
    stage.change(|table| table.proxy.ramp_ms = 20);
    stage.until("it has all of it", |stage| share(stage, 1) == 100);
    let many = served();
    assert!((200..=350).contains(&many), "{many} of 550");
}

#[test]
fn an_instance_that_fails_while_it_comes_back_begins_anew() {
    let mut stage = returned();
    stage.workers[0].mode("fail");
    stage.change(|table| table.proxy.ramp_ms = 1_000);
    let mut client = stage.client();
    let mut most = 0;
    for _ in 0..1_500 {
        client.ask("POST", "/", "", b"x");
        most = most.max(share(&stage, 1));
    }
    assert!(most < 100, "it never got all of it while it failed");
    stage.workers[0].mode("ok");
    stage.change(|table| table.proxy.ramp_ms = 20);
    stage.until("it has all of it", |stage| share(stage, 1) == 100);
}
