//! Sending a recorded request to a copy, and reading as much of the answer as tells that it is
//! through. One connection a request; a copy's answers are compared by their status only.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use grace_capsule::{Blob, Outcome, Request};

/// Longest answer that is read.
const ANSWER_MAX: usize = 64 << 20;
/// What a connection of its own and a body of known length need otherwise, or what leads to
/// another protocol.
const DROPPED: [&str; 9] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// The status of the answer; none: there was none in time.
pub(super) fn send(port: u16, request: &Request, patience: Duration) -> Option<u16> {
    exchange(port, &written(request), patience).ok()
}

/// As [`send`], of a GET without anything.
pub(super) fn get(port: u16, path: &str, patience: Duration) -> Option<u16> {
    let request = Request {
        at_us: 0,
        method: "GET".to_owned(),
        target: path.to_owned(),
        headers: vec![("host".to_owned(), Blob::from("localhost"))],
        body: Blob::default(),
        body_bytes: 0,
        outcome: Outcome::InFlight,
        suspect: false,
        answer: None,
    };
    send(port, &request, patience)
}

fn written(request: &Request) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    if request.header("host").is_none() {
        put("host", b"localhost");
    }
    for (name, value) in &request.headers {
        if !DROPPED.contains(&name.as_str()) {
            put(name, &value.0);
        }
    }
    let bodied = !request.body.is_empty() || matches!(&*request.method, "POST" | "PUT" | "PATCH");
    if bodied {
        put(
            "content-length",
            request.body.0.len().to_string().as_bytes(),
        );
    }
    put("connection", b"close");
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&request.body.0);
    out
}

fn exchange(port: u16, request: &[u8], patience: Duration) -> io::Result<u16> {
    let until = Instant::now() + patience;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&addr, patience)?;
    stream.set_write_timeout(Some(patience))?;
    // An answer may come before all was taken.
    let sent = stream.write_all(request);
    let mut answer = Vec::new();
    let mut some = [0; 16 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = match stream.read(&mut some) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return sent.and(Err(error)),
        };
        answer.extend_from_slice(some.get(..count).unwrap_or_default());
        if count == 0 {
            // Its end, or that of its process in the middle of it.
            return match status(&answer) {
                Some(status) if is_whole(&answer) => Ok(status),
                _ => sent.and(Err(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        // Many a server keeps the connection open all the same.
        if says_its_end(&answer) && is_whole(&answer) {
            return status(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        if answer.len() > ANSWER_MAX {
            return status(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    text.split(' ').nth(1)?.trim().parse().ok()
}

/// Whether its head says where it ends.
fn says_its_end(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = end.and_then(|end| answer.get(..end)).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    ["\ncontent-length:", "\ntransfer-encoding:"]
        .iter()
        .any(|name| head.contains(name))
}

/// Whether the answer has come to its end, as far as it says where that is.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    if value("transfer-encoding").is_some() {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = value("content-length").and_then(|text| text.parse::<usize>().ok());
    length.is_none_or(|length| body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_through_where_it_says_so() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                false,
            ),
            ("HTTP/1.1 200", false),
            ("", false),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer:?}");
        }
        assert_eq!(status(b"HTTP/1.1 503 No\r\n"), Some(503));
        assert_eq!(status(b"rubbish"), None);
    }

    #[test]
    fn a_request_is_written_with_what_its_new_connection_needs() {
        let request = Request {
            at_us: 0,
            method: "POST".to_owned(),
            target: "/x?y".to_owned(),
            headers: vec![
                ("content-length".to_owned(), Blob::from("999")),
                ("connection".to_owned(), Blob::from("keep-alive")),
                ("x-a".to_owned(), Blob(vec![b'b', 0xff])),
            ],
            body: Blob::from("body"),
            body_bytes: 4,
            outcome: Outcome::Answered,
            suspect: false,
            answer: None,
        };
        let wanted = b"POST /x?y HTTP/1.1\r\nhost: localhost\r\nx-a: b\xff\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";
        assert_eq!(written(&request), wanted);
    }
}
