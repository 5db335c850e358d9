//! Instances that are stopped, hang, or answer with errors.

use grace_model::event::{ProcessState, What};
use grace_os::Signal;

use crate::stage::Stage;

#[test]
fn a_request_on_a_stopped_process_is_answered_by_another() {
    let stage = Stage::with(2, |table| {
        table.proxy.hedge_ms = 60_000;
        table.proxy.suspect_ms = 50;
    });
    stage.workers[0].signal(Signal::Stop);
    let mut client = stage.client();
    for _ in 0..30 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.worker()), (200, "shop-2"));
    }
    stage.until_journalled("its state", |what| {
        matches!(
            what,
            What::ProcessState {
                state: ProcessState::Stopped,
                ..
            }
        )
    });
    stage.until_journalled(
        "its ejection",
        |what| matches!(what, What::Ejected { reason, .. } if reason.contains("stopped")),
    );
    stage.workers[0].signal(Signal::Continue);
    stage.until("it is back", |stage| {
        !stage.flag(1, "stopped") && !stage.flag(1, "ejected")
    });
    stage.until("it serves", |stage| stage.get("/").worker() == "shop-1");
}

#[test]
fn a_post_on_a_stopped_process_waits_for_it() {
    let stage = Stage::with(2, |table| table.proxy.suspect_ms = 50);
    let mut client = stage.client();
    stage.workers[0].signal(Signal::Stop);
    stage.workers[1].signal(Signal::Stop);
    client.send("POST", "/", "X-Id: it\r\n", b"order");
    stage.until("it is seen", |stage| {
        stage.flag(1, "stopped") || stage.flag(2, "stopped")
    });
    stage.workers[0].signal(Signal::Continue);
    stage.workers[1].signal(Signal::Continue);
    assert_eq!(client.answer("POST").status, 200);
    let seen = stage.workers[0].seen("it") + stage.workers[1].seen("it");
    assert_eq!(seen, 1);
}

#[test]
fn a_hanging_request_is_hedged_once() {
    let stage = Stage::with(3, |table| {
        table.proxy.suspect_ms = 50;
        table.proxy.hedge_ms = 100;
        table.proxy.answer_timeout_ms = 1_500;
    });
    for worker in &stage.workers {
        worker.mode("hang");
    }
    let mut client = stage.client();
    let answer = client.ask("GET", "/", "X-Id: it\r\n", b"");
    assert_eq!(answer.status, 504);
    for worker in &stage.workers {
        worker.mode("ok");
    }
    let seen: u32 = stage.workers.iter().map(|worker| worker.seen("it")).sum();
    assert_eq!(seen, 2, "one hedge and never a third");
    assert_eq!(stage.total("hedges"), 1);
}

#[test]
fn the_first_answer_of_a_hedge_wins_and_a_hanging_instance_is_ejected() {
    let stage = Stage::with(2, |table| {
        table.proxy.suspect_ms = 50;
        table.proxy.hedge_ms = 100;
    });
    stage.workers[0].mode("hang");
    let mut client = stage.client();
    for _ in 0..12 {
        assert_eq!(client.get("/").worker(), "shop-2");
    }
    stage.until("it is ejected", |stage| {
        assert_eq!(stage.get("/").worker(), "shop-2");
        stage
            .journal()
            .iter()
            .any(|what| matches!(what, What::Ejected { .. }))
    });
}

#[test]
fn a_hanging_post_is_not_hedged_and_ends_with_its_time() {
    let stage = Stage::with(2, |table| {
        table.proxy.hedge_ms = 50;
        table.proxy.answer_timeout_ms = 400;
    });
    for worker in &stage.workers {
        worker.mode("hang");
    }
    let mut client = stage.client();
    let answer = client.ask("POST", "/", "X-Id: it\r\n", b"order");
    assert_eq!(
        (answer.status, answer.header("x-grace-error")),
        (504, "timed-out")
    );
    for worker in &stage.workers {
        worker.mode("ok");
    }
    assert_eq!(stage.workers[0].seen("it") + stage.workers[1].seen("it"), 1);
}

#[test]
fn a_server_error_is_tried_on_one_sibling() {
    let stage = Stage::with(2, |table| table.proxy.eject_failures = 1_000);
    stage.workers[0].mode("fail");
    let mut client = stage.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").worker(), "shop-2");
    }
    assert_eq!(client.ask("PUT", "/", "", b"body").status, 200);
    let failed = (0..40)
        .filter(|_| client.ask("POST", "/", "", b"x").status == 500)
        .count();
    assert!(failed > 0, "a POST is not tried again");
}

#[test]
fn when_the_sibling_fails_too_the_first_error_passes() {
    let stage = Stage::with(3, |table| table.proxy.eject_failures = 1_000);
    for worker in &stage.workers {
        worker.mode("fail");
    }
    let mut client = stage.client();
    let answer = client.ask("GET", "/", "X-Id: it\r\n", b"");
    assert_eq!((answer.status, answer.text().as_str()), (500, "broken"));
    let seen: u32 = stage.workers.iter().map(|worker| worker.seen("it")).sum();
    assert_eq!(seen, 2);
}

#[test]
fn an_upload_that_takes_its_time_is_neither_hedged_nor_timed_out() {
    let stage = Stage::with(2, |table| {
        table.proxy.suspect_ms = 30;
        table.proxy.hedge_ms = 60;
        table.proxy.answer_timeout_ms = 600;
    });
    for method in ["PUT", "POST"] {
        let mut client = stage.client();
        client.send(method, "/length", "Transfer-Encoding: chunked\r\n", b"");
        for _ in 0..10 {
            client.write("a\r\n0123456789\r\n");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        client.write("0\r\n\r\n");
        assert_eq!(client.answer(method).text(), "100", "{method}");
    }
    assert_eq!(stage.total("second_tries"), 0);
}

#[test]
fn stops_under_load_lose_no_get() {
    let stage = Stage::with(4, |table| {
        table.proxy.threads = 2;
        table.services[0].probe = Some(crate::stage::probe());
    });
    let addr = stage.addr;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut client = crate::client::Client::connect(addr);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = client.get("/sleep?5");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    for number in [1, 2, 3] {
        stage.workers[number - 1].signal(Signal::Stop);
        stage.until("the stop is seen", |stage| stage.flag(number, "stopped"));
        stage.workers[number - 1].signal(Signal::Continue);
        stage.until("it is back", |stage| !stage.flag(number, "ejected"));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
}
