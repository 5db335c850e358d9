//! A client for judges: HTTP/1.1, one connection a request, no second try.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long an answer may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200, ...
    pub status: u16,
    /// The process that says it gave it; 0 when none is named.
    pub pid: u32,
}

/// Asks; none when no whole answer came in time.
pub fn get(addr: SocketAddr, path: &str, limit: Duration) -> Option<Answer> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&addr, limit).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: prove\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    let mut part = [0_u8; 8_192];
    loop {
        let left = limit
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        match stream.read(&mut part).ok()? {
            0 => break,
            read => bytes.extend_from_slice(part.get(..read)?),
        }
    }
    parse(&String::from_utf8_lossy(&bytes))
}

/// Asks the instance that listens on this port of the loopback itself.
pub fn ask(port: u16, path: &str) -> Option<Answer> {
    get(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        path,
        Duration::from_secs(1),
    )
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    // The body may be chunked; the sample service's is one JSON object a line.
    let object = body.find('{').and_then(|from| body.get(from..));
    let object = object.and_then(|from| from.rfind('}').and_then(|to| from.get(..=to)));
    let value: Value = object
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    Some(Answer {
        status,
        pid: value["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_its_status_and_who_gave_it() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{\"pid\": 7}";
        let answer = parse(text).expect("an answer");
        assert_eq!((answer.status, answer.pid), (503, 7));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\nhello").expect("one").pid, 0);
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn who_is_never_answered_is_told_so_in_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("address");
        assert_eq!(get(addr, "/", Duration::from_millis(200)), None);
    }
}
