//! Clients and instances that stand still in the middle.

use std::io::{Read, Write};
use std::time::Duration;

use crate::client::Client;
use crate::stage::Stage;

/// Ejects at the first failure, so that blame shows.
fn touchy(change: impl FnOnce(&mut grace_model::config::Proxy)) -> Stage {
    Stage::with(2, |table| {
        table.proxy.suspect_ms = 30;
        table.proxy.hedge_ms = 60_000;
        table.proxy.eject_failures = 1;
        change(&mut table.proxy);
    })
}

fn blamed(stage: &Stage) -> bool {
    stage.flag(1, "ejected") || stage.flag(2, "ejected")
}

#[test]
fn a_body_that_stands_still_is_ended_and_blames_nobody() {
    let stage = touchy(|proxy| proxy.upload_timeout_ms = 300);
    for method in ["PUT", "POST"] {
        let mut client = stage.client();
        client.send(method, "/length", "Content-Length: 100\r\n", b"");
        client.write("only this");
        let answer = client.answer(method);
        assert_eq!(
            (answer.status, answer.header("x-grace-error")),
            (408, "slow-body"),
            "{method}"
        );
        assert!(client.is_closed());
    }
    assert_eq!(stage.get("/").status, 200);
    assert!(!blamed(&stage));
}

#[test]
fn a_body_that_comes_byte_by_byte_is_ended_too() {
    let stage = touchy(|proxy| {
        proxy.upload_timeout_ms = 300;
        proxy.slow_bytes = 1_000;
    });
    let mut client = stage.client();
    client.send("PUT", "/length", "Content-Length: 1000000\r\n", b"");
    let mut sent = 0;
    while sent < 5_000 && client.stream().write_all(b"x").is_ok() {
        sent += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(sent < 5_000, "it was let do so");
    assert!(!blamed(&stage));
}

#[test]
fn a_body_that_stands_still_behind_a_begun_answer_is_ended_too() {
    let stage = touchy(|proxy| proxy.upload_timeout_ms = 300);
    let mut client = stage.client();
    client.send("POST", "/early", "Content-Length: 100\r\n", b"");
    client.write("only this");
    let head = client.read_exact(12);
    assert_eq!(head, b"HTTP/1.1 200");
    let mut rest = Vec::new();
    let _ = client.stream().read_to_end(&mut rest);
    stage.until("it is counted", |stage| stage.total("too_slow") == 1);
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut_off_and_blames_nobody() {
    let stage = touchy(|proxy| proxy.download_timeout_ms = 300);
    let mut client = stage.client();
    client.send("GET", "/big?100000000", "", b"");
    stage.until("it is cut off", |stage| stage.total("too_slow") == 1);
    let mut taken = Vec::new();
    let _ = client.stream().read_to_end(&mut taken);
    assert!(taken.len() < 100_000_000);
    assert_eq!(stage.get("/").status, 200);
    assert!(!blamed(&stage));
}

#[test]
fn a_client_that_takes_its_answer_slowly_but_steadily_gets_all_of_it() {
    let stage = touchy(|proxy| proxy.download_timeout_ms = 300);
    let mut client = stage.client();
    client.send("GET", "/big?8000000", "", b"");
    let mut taken = 0;
    while taken < 8_000_000 {
        taken += client.read_exact(100_000).len();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(stage.total("too_slow"), 0);
}

#[test]
fn an_instance_that_stalls_in_the_middle_of_its_answer_is_blamed_and_it_does_not_look_whole() {
    let stage = touchy(|proxy| proxy.stall_timeout_ms = 300);
    let mut client = stage.client();
    client.send("GET", "/stall", "", b"");
    assert!(client.try_answer("GET").is_none(), "it broke off");
    stage.until("it is ejected", blamed);
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn an_instance_that_does_not_take_a_body_is_blamed() {
    let stage = touchy(|proxy| proxy.stall_timeout_ms = 300);
    let mut client = stage.client();
    client.send("POST", "/deaf", "Content-Length: 1000000000\r\n", b"");
    let stream = client.stream();
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    if let Some(answer) = client.try_answer("POST") {
        assert_eq!(answer.status, 504);
    }
    stage.until("it is ejected", blamed);
}

#[test]
fn slow_clients_starve_nobody() {
    let stage = Stage::with(2, |table| {
        // The slow ones are to be there to the end, however slow the machine is.
        table.proxy.head_timeout_ms = 300_000;
        table.proxy.upload_timeout_ms = 300_000;
        table.proxy.download_timeout_ms = 300_000;
        table.proxy.answer_timeout_ms = 300_000;
    });
    let mut slow: Vec<Client> = Vec::new();
    for number in 0..120 {
        let mut client = stage.client();
        match number % 3 {
            0 => client.write("GET / HTTP/1.1\r\nHost: sh"),
            1 => {
                client.send("POST", "/length", "Content-Length: 100\r\n", b"");
                client.write("only this");
            }
            _ => client.send("GET", "/big?20000000", "", b""),
        }
        slow.push(client);
    }
    stage.until("the slow ones are there", |stage| {
        stage.total("requests") >= 80
    });
    let mut good = stage.client();
    for _ in 0..200 {
        assert_eq!(good.get("/").status, 200);
    }
    assert_eq!(stage.get("/").status, 200, "new ones come in too");
    // And each of the slow ones gets what is its own, as long as it has time.
    for (number, client) in slow.iter_mut().enumerate().take(6) {
        match number % 3 {
            0 => {
                client.write("op\r\n\r\n");
                assert_eq!(client.answer("GET").status, 200);
            }
            1 => {
                client.write([b'x'; 91]);
                assert_eq!(client.answer("POST").text(), "100");
            }
            _ => assert_eq!(client.answer("GET").body.len(), 20_000_000),
        }
    }
}
