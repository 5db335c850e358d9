//! Connections that are upgraded, as WebSockets are.

use crate::stage::Stage;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: echo\r\n";

#[test]
fn an_upgraded_connection_passes_bytes_both_ways() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let answer = client.ask("GET", "/upgrade", UPGRADE, b"");
    assert_eq!((answer.status, answer.header("upgrade")), (101, "echo"));
    for round in 0..20 {
        let words = format!("words {round} \n\r\n\x00");
        client.write(&words);
        assert_eq!(client.read_exact(words.len()), words.as_bytes());
    }
    assert_eq!(stage.get("/").status, 200);
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed());
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer_like_any_other() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    let answer = client.ask("GET", "/", UPGRADE, b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
}

#[test]
fn a_fence_ends_a_tunnel_and_a_drain_does_not() {
    use grace_model::instance::State;
    let mut stage = Stage::new(1);
    let mut client = stage.client();
    assert_eq!(client.ask("GET", "/upgrade", UPGRADE, b"").status, 101);
    stage.change(|table| Stage::line(table, 1).state = State::Draining);
    client.write("still here");
    assert_eq!(client.read_exact(10), b"still here");
    stage.change(|table| Stage::line(table, 1).fenced = true);
    assert!(client.is_closed());
}
