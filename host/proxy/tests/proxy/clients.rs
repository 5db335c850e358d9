//! Clients that mean harm, or are broken, or slow.

use crate::stage::Stage;

#[test]
fn requests_whose_length_can_be_read_in_two_ways_are_refused() {
    let stage = Stage::new(1);
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 4",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Content-Length : 4",
        "Content-Length: 4\nX: y",
        "X: y\r\n Content-Length: 4",
    ] {
        let mut client = stage.client();
        client.write(format!(
            "POST /echo HTTP/1.1\r\nHost: shop\r\nX-Id: smuggled\r\n{head}\r\n\r\n0\r\n\r\n\
             GET /echo HTTP/1.1\r\nHost: shop\r\nX-Id: smuggled\r\n\r\n"
        ));
        assert_eq!(client.answer("POST").status, 400, "{head}");
        assert!(client.is_closed(), "{head}");
    }
    assert_eq!(stage.workers[0].seen("smuggled"), 0);
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn a_good_request_before_a_bad_one_is_answered() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    client.write(
        "GET / HTTP/1.1\r\nHost: shop\r\n\r\n\
         POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.answer("GET").status, 200);
    assert_eq!(client.answer("POST").status, 400);
    assert!(client.is_closed());
}

#[test]
fn heads_without_one_host_and_connect_are_refused() {
    let stage = Stage::new(1);
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let mut client = stage.client();
        client.write(head);
        assert_eq!(client.answer("GET").status, 400, "{head}");
    }
    let mut client = stage.client();
    client.write("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n");
    assert_eq!(client.answer("CONNECT").status, 405);
}

#[test]
fn what_is_no_http_is_refused() {
    let stage = Stage::new(1);
    let mut client = stage.client();
    client.write("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n");
    assert_eq!(client.answer("GET").status, 400);
}

#[test]
fn a_client_that_never_ends_its_head_is_cut_off_and_others_are_not() {
    let stage = Stage::with(1, |table| table.proxy.head_timeout_ms = 300);
    let mut slow = stage.client();
    let mut silent = stage.client();
    let mut good = stage.client();
    let mut long = stage.client();
    assert_eq!(good.get("/").status, 200);
    long.send("GET", "/sleep?1500", "", b"");
    slow.write("GET / HTTP/1.1\r\n");
    for _ in 0..100 {
        use std::io::Write;
        if slow.stream().write_all(b"X: y\r\n").is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(slow.is_closed());
    assert!(silent.is_closed());
    assert_eq!(
        good.get("/").status,
        200,
        "an idle connection has more time"
    );
    assert_eq!(
        long.answer("GET").text(),
        "slept",
        "and a request under way has its own"
    );
}

#[test]
fn a_body_that_breaks_off_is_not_held_against_the_instance() {
    let stage = Stage::new(1);
    for _ in 0..5 {
        let mut client = stage.client();
        client.send("PUT", "/length", "Transfer-Encoding: chunked\r\n", b"");
        client.write("5\r\nhello\r\nnonsense\r\n");
        if let Some(answer) = client.try_answer("PUT") {
            assert_eq!(answer.status, 400);
        }
    }
    assert!(!stage.flag(1, "ejected"));
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn what_is_malformed_is_answered_400_or_431_and_nothing_of_it_is_passed_on() {
    let stage = Stage::new(1);
    let long = "x".repeat(80 * 1024);
    let many = "X: y\r\n".repeat(2_000);
    let next = "GET / HTTP/1.1\r\nHost: shop\r\nX-Id: smuggled\r\n\r\n";
    for (status, line, head) in [
        (400, "GET / HTTP/1.1", "X: a\0b\r\n"),
        (400, "GET / HTTP/1.1", "X: a\rb\r\n"),
        (400, "GET / HTTP/1.1", "X: a\r\n b\r\n"),
        (400, "GET / HTTP/1.1", "X : a\r\n"),
        (400, "GET / HTTP/1.1", ": a\r\n"),
        (400, "GET / HTTP/1.1", "X Y: a\r\n"),
        (400, "GET / HTTP/1.1", "nonsense\r\n"),
        (400, "GET / HTTP/1.1", "Content-Length: 1x\r\n"),
        (400, "GET /a#b HTTP/1.1", ""),
        (400, "GET  / HTTP/1.1", ""),
        (400, "GET / HTTP/1.1 ", ""),
        (400, "GET / HTTP/3.0", ""),
        (400, "GET /\0 HTTP/1.1", ""),
        (431, "GET / HTTP/1.1", &format!("X: {long}\r\n")),
        (431, "GET / HTTP/1.1", &many),
    ] {
        let mut client = stage.client();
        let bytes = format!("{line}\r\nHost: shop\r\nX-Id: smuggled\r\n{head}\r\n{next}");
        // A head that is too long is refused while it is still being sent.
        let _ = std::io::Write::write_all(client.stream(), bytes.as_bytes());
        let shown: String = bytes.chars().take(80).collect();
        let answer = client.try_answer("GET");
        let answer = answer.unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(answer.status, status, "{shown:?}");
        assert!(client.is_closed(), "{shown:?}");
    }
    // Its answer has no length, and the end of the connection may come as a reset.
    let mut client = stage.client();
    client.write(format!(
        "POST / HTTP/1.0\r\nX-Id: smuggled\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}"
    ));
    assert_eq!(client.read_exact(12)[8..], *b" 400");
    let _ = std::io::Read::read_to_end(client.stream(), &mut Vec::new());
    assert_eq!(stage.workers[0].seen("smuggled"), 0);
}

#[test]
fn a_body_whose_chunks_are_malformed_ends_the_connection_and_no_part_looks_whole() {
    let stage = Stage::new(1);
    let next = "GET / HTTP/1.1\r\nHost: shop\r\nX-Id: smuggled\r\n\r\n";
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(900)).repeat(40);
    for body in [
        "zz\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1;\nx\r\na\r\n0\r\n\r\n",
        "0\n\n",
        "0\r\nContent-Length: 3\r\n\r\n",
        &extensions,
    ] {
        let mut client = stage.client();
        client.write(format!(
            "PUT /length HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n{body}{next}"
        ));
        let shown: String = body.chars().take(40).collect();
        if let Some(answer) = client.try_answer("PUT") {
            assert_eq!(answer.status, 400, "{shown:?}");
        }
        assert!(client.is_closed(), "{shown:?}");
    }
    assert_eq!(stage.workers[0].seen("smuggled"), 0);
    assert!(!stage.flag(1, "ejected"), "the client's fault");
}
