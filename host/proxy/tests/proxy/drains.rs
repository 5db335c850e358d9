//! Instances that are to get nothing more.

use grace_model::instance::State;
use grace_model::ipc::Request;

use crate::stage::Stage;

fn drained(request: &Request) -> bool {
    matches!(request, Request::Drained { instance, generation: 1, .. }
        if instance.as_str() == "shop-1")
}

#[test]
fn a_draining_instance_ends_what_it_has_and_then_says_so() {
    let mut stage = Stage::with(1, |table| table.proxy.threads = 2);
    let mut client = stage.client();
    client.send("GET", "/sleep?1500", "X-Id: it\r\n", b"");
    stage.until("it is with the worker", |stage| {
        stage.workers[0].seen("it") == 1
    });
    let second = crate::worker::Worker::start("shop-2");
    stage.change(|table| {
        let mut line = Stage::line(table, 1).clone();
        line.id = "shop-2".into();
        line.addr = Some(second.addr);
        line.process = Some(second.process.clone());
        table.services[0].instances.push(line);
        Stage::line(table, 1).state = State::Draining;
    });
    for _ in 0..20 {
        assert_eq!(stage.get("/").worker(), "shop-2");
    }
    assert!(
        !stage.supervisor.heard().iter().any(drained),
        "a request is still in flight"
    );
    assert_eq!(client.answer("GET").text(), "slept");
    stage.until_heard("it is drained", drained);
    assert_eq!(
        client.get("/").worker(),
        "shop-2",
        "the client's connection was not cut"
    );
}

#[test]
fn an_idle_instance_is_drained_at_once_and_may_be_used_again() {
    let mut stage = Stage::with(1, |table| table.proxy.threads = 2);
    for state in [State::Draining, State::Quarantined, State::Paused] {
        assert_eq!(stage.get("/").status, 200);
        stage.supervisor.forget();
        stage.change(|table| Stage::line(table, 1).state = state);
        stage.until_heard("it is drained", drained);
        stage.change(|table| Stage::line(table, 1).state = State::Ready);
    }
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn a_fenced_instance_loses_its_connections_and_its_requests_go_elsewhere() {
    let mut stage = Stage::new(2);
    stage.change(|table| Stage::line(table, 2).state = State::Starting);
    let mut client = stage.client();
    client.send("GET", "/sleep?600000", "X-Id: it\r\n", b"");
    let mut post = stage.client();
    post.send("POST", "/sleep?600000", "X-Id: it\r\n", b"order");
    stage.until("they are with the worker", |stage| {
        stage.workers[0].seen("it") == 2
    });
    stage.workers[1].mode("fail");
    stage.change(|table| {
        Stage::line(table, 1).fenced = true;
        Stage::line(table, 2).state = State::Ready;
    });
    // The sibling answers the one that may be sent again, in its own way.
    assert_eq!(client.answer("GET").worker(), "shop-2");
    assert_eq!(post.answer("POST").header("x-grace-error"), "broke-off");
    stage.until_heard("it is drained", drained);
}

#[test]
fn a_supervisor_that_comes_back_hears_of_the_drain_again() {
    let mut stage = Stage::new(1);
    stage.change(|table| Stage::line(table, 1).state = State::Draining);
    stage.until_heard("it is drained", drained);
    stage.supervisor.die();
    stage.supervisor.forget();
    stage.supervisor.live();
    stage.until_heard("it is drained, again", drained);
}
