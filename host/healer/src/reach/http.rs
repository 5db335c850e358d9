//! One HTTP GET, blocking, for probes: head and status only, the body is not read.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest head that is read before the status line must have come.
const HEAD_MAX: usize = 8 * 1024;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// 0: no answer.
    pub status: u16,
    /// Time to the status line, or to the failure.
    pub latency_us: u64,
    /// Why there was no answer.
    pub problem: Option<String>,
}

/// GETs `path` from this machine's `port`.
#[must_use]
pub fn get(port: u16, path: &str, limit: Duration) -> Probed {
    timed(|end| ask(port, path, end), limit)
}

/// Connects and nothing more.
#[must_use]
pub fn connect(port: u16, limit: Duration) -> Probed {
    timed(|end| open(port, end).map(|_stream| 0), limit)
}

fn timed(ask: impl FnOnce(Instant) -> std::io::Result<u16>, limit: Duration) -> Probed {
    let began = Instant::now();
    let asked = ask(began + limit);
    let latency_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    match asked {
        Ok(status) => Probed {
            status,
            latency_us,
            problem: None,
        },
        Err(e) => {
            let problem = match e.kind() {
                // A read timeout of a socket is reported as either.
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!("no answer within {} ms", limit.as_millis())
                }
                ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => {
                    "the connection ended before an answer".to_owned()
                }
                _ => e.to_string(),
            };
            Probed {
                status: 0,
                latency_us,
                problem: Some(problem),
            }
        }
    }
}

fn open(port: u16, end: Instant) -> std::io::Result<TcpStream> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&to, left(end)?)?;
    // A connect to a dead port can meet itself; that is nobody's answer.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn ask(port: u16, path: &str, end: Instant) -> std::io::Result<u16> {
    if !path.starts_with('/') || path.contains(|c: char| c.is_ascii_control() || c == ' ') {
        return Err(std::io::Error::other(format!(
            "{path:?} is no path: it must begin with /"
        )));
    }
    let mut stream = open(port, end)?;
    stream.set_write_timeout(Some(left(end)?))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: grace-probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut part = [0_u8; 512];
    loop {
        stream.set_read_timeout(Some(left(end)?))?;
        let count = stream.read(&mut part)?;
        head.extend_from_slice(part.get(..count).unwrap_or_default());
        if let Some(line) = head
            .split(|&b| b == b'\n')
            .next()
            .filter(|l| l.len() < head.len())
        {
            return status_of(line).ok_or_else(|| std::io::Error::other("the answer is not HTTP"));
        }
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if head.len() > HEAD_MAX {
            return Err(std::io::Error::other("the answer is not HTTP"));
        }
    }
}

fn status_of(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    let status = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (100..600).contains(&status).then_some(status)
}

fn left(end: Instant) -> std::io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(bytes: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0_u8; 256];
            let _head = stream.read(&mut request).unwrap();
            stream.write_all(bytes).unwrap();
        });
        port
    }

    #[test]
    fn a_status_is_told_whatever_it_is() {
        let port = answering(b"HTTP/1.1 503 Busy\r\n\r\n");
        let probed = get(port, "/x", Duration::from_secs(10));
        assert_eq!((probed.status, probed.problem), (503, None));
    }

    #[test]
    fn an_instance_that_accepts_and_never_answers_is_a_problem() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let probed = get(port, "/", Duration::from_millis(50));
        assert_eq!(probed.status, 0);
        assert_eq!(probed.problem.as_deref(), Some("no answer within 50 ms"));
        assert_eq!(connect(port, Duration::from_secs(10)).problem, None);
        drop(listener);
        assert_eq!(
            connect(port, Duration::from_secs(10)).problem.as_deref(),
            Some("connection refused")
        );
    }

    #[test]
    fn what_is_not_http_is_a_problem() {
        let port = answering(b"SSH-2.0-x\r\n");
        assert!(get(port, "/", Duration::from_secs(10)).problem.is_some());
        assert!(get(1, "no-path", Duration::from_secs(10)).problem.is_some());
    }
}
