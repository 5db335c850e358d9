//! The scanner's own tests: whole connections, in pieces of every size.

use super::*;

/// Number of the first bad head, none when all are good; whole and byte by byte.
fn judge(bytes: &[u8]) -> Option<u64> {
    let one = |step: usize| {
        let (mut scanner, verdict) = (Scanner::default(), Verdict::default());
        for piece in bytes.chunks(step) {
            if scanner.scan(piece, &verdict).is_err() {
                break;
            }
        }
        (0..100).find(|number| !verdict.trusts(*number))
    };
    let whole = one(bytes.len());
    for step in [1, 2, 3, 7, 16] {
        assert_eq!(one(step), whole, "in pieces of {step}");
    }
    whole
}

#[test]
fn good_requests_in_a_row_are_trusted() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
        POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab\r\nc\
        PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nT: 1\r\n\r\n\
        GET / HTTP/1.1\r\n\r\n";
    assert_eq!(judge(bytes), None);
    let (mut scanner, verdict) = (Scanner::default(), Verdict::default());
    scanner.scan(bytes, &verdict).unwrap();
    assert_eq!(verdict.heads(), 4);
    assert!(!verdict.in_head());
    scanner.scan(b"GET", &verdict).unwrap();
    assert!(verdict.in_head());
}

#[test]
fn ambiguous_heads_are_not_trusted() {
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length:",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Content-Length : 3",
        "X: y\r\n Content-Length: 3",
        "X: y\nContent-Length: 3",
        "no colon",
        ": no name",
        "Content-Length: 000000000000000000003",
        "Content-Length: 0x3",
        "Content-Length: 3\r\ncontent-length: 3",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n{head}\r\n\r\nabc");
        assert_eq!(judge(bytes.as_bytes()), Some(1), "{head}");
    }
}

#[test]
fn a_body_that_cannot_be_followed_makes_all_that_follows_untrusted() {
    let long = format!("1;{}\r\na\r\n", "x".repeat(CHUNK_LINE_MAX));
    for body in [
        "zz\r\n",
        "-1\r\n",
        "0x1\r\n",
        "\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1;a\nb\r\na\r\n",
        "1;\0\r\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "ffffffffffffffff\r\na\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        &long,
    ] {
        let bytes = format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(judge(bytes.as_bytes()), Some(1), "{body:?}");
        let (mut scanner, verdict) = (Scanner::default(), Verdict::default());
        assert_eq!(
            scanner.scan(bytes.as_bytes(), &verdict),
            Err(Lost),
            "{body:?}"
        );
        assert_eq!(scanner.scan(b"GET", &verdict), Err(Lost), "it stays lost");
    }
}

#[test]
fn empty_lines_before_a_request_have_an_end() {
    let (mut scanner, verdict) = (Scanner::default(), Verdict::default());
    assert_eq!(
        scanner.scan(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", &verdict),
        Ok(())
    );
    assert_eq!(scanner.scan(&b"\r\n".repeat(5), &verdict), Err(Lost));
}

#[test]
fn what_follows_an_upgrade_is_not_looked_at() {
    let bytes = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\n\n\x00\x01";
    assert_eq!(judge(bytes), None);
    let head = "PUT / HTTP/1.1\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judge(format!("{head}0\r\n\r\n\n\n").as_bytes()), None);
    let bad = format!("{head}0\n\n");
    assert_eq!(judge(bad.as_bytes()), Some(1), "its own body is");
}
