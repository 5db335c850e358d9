//! The probing of one instance: is it ready, is its process running. It asks by a fresh
//! connection and reports; what a report means is judged elsewhere. Each report says how late
//! the prober itself was, since a judge that slept may not judge.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use grace_model::config::ProxyVersion;
use grace_model::event::ProcessState;
use grace_model::ipc::TableProbe;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::address::Address;
use crate::control::News;
use crate::endpoint::Endpoint;
use crate::fate;
use crate::greeting;
use crate::socket::Stream;
use crate::wire::Here;

/// Time between two looks at a process that is not probed.
const LOOK: Duration = Duration::from_millis(500);
/// Longest status line that is read.
const LINE_MAX: usize = 1_024;

/// How an instance is probed now; changed by control.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// None: only its process is looked at.
    pub(crate) probe: Option<Rc<TableProbe>>,
    pub(crate) starting: bool,
    /// The instance wants a PROXY header first.
    pub(crate) greeting: Option<ProxyVersion>,
    /// It speaks HTTP/2.
    pub(crate) two: bool,
}

/// What one probe found.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) begun: Instant,
    /// Status of the answer; 0 for none.
    pub(crate) status: u16,
    pub(crate) latency: Duration,
    /// What was wrong; none when it passed.
    pub(crate) problem: Option<String>,
    /// How late the prober was, at the beginning or at the end.
    pub(crate) late: Duration,
    /// Late beyond its interval: no verdict.
    pub(crate) stalled: bool,
}

/// What the prober found in one round.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) end: Arc<Endpoint>,
    pub(crate) state: Option<ProcessState>,
    pub(crate) probed: Option<Probed>,
}

/// Probes until the process is gone.
pub(crate) async fn watch(
    end: Arc<Endpoint>,
    pace: Rc<RefCell<Option<Pace>>>,
    news: mpsc::Sender<News>,
) {
    let mut next = Instant::now();
    let mut looked: Option<Instant> = None;
    loop {
        tokio::time::sleep_until(next.into()).await;
        let begun = Instant::now();
        let Some(now_pace) = pace.borrow().clone() else {
            return;
        };
        let interval = interval(&now_pace);
        let late = begun.saturating_duration_since(next);

        let pause = LOOK.min(steady(&now_pace));
        let look = looked.is_none_or(|at| begun.saturating_duration_since(at) >= pause);
        let state = (look && end.process.is_some()).then(|| fate::look(&end));
        if look {
            looked = Some(begun);
        }
        let manner = (now_pace.greeting, now_pace.two);
        let probed = match (&now_pace.probe, &end.addr) {
            (Some(probe), Some(addr)) => {
                Some(judge((&end, addr), probe, manner, begun, late, interval).await)
            }
            _ => None,
        };
        let gone = state == Some(ProcessState::Gone);
        let round = Round {
            end: Arc::clone(&end),
            state,
            probed,
        };
        if news.send(News::Round(Box::new(round))).await.is_err() || gone {
            return;
        }
        next = (next + interval).max(Instant::now());
    }
}

fn interval(pace: &Pace) -> Duration {
    match &pace.probe {
        Some(probe) if pace.starting => Duration::from_millis(probe.start_interval_ms.max(1)),
        _ => steady(pace),
    }
}

fn steady(pace: &Pace) -> Duration {
    pace.probe.as_ref().map_or(LOOK, |probe| {
        Duration::from_millis(probe.interval_ms.max(1))
    })
}

async fn judge(
    at: (&Endpoint, &Address),
    probe: &TableProbe,
    manner: (Option<ProxyVersion>, bool),
    begun: Instant,
    late: Duration,
    interval: Duration,
) -> Probed {
    let limit = Duration::from_millis(probe.timeout_ms);
    let result = tokio::time::timeout(limit, ask(at, probe.http.as_deref(), manner)).await;
    let latency = begun.elapsed();
    let late = late.max(latency.saturating_sub(limit));
    let (status, problem) = match result {
        Ok(Ok(None)) => (0, None),
        Ok(Ok(Some(status))) if (200..400).contains(&status) => (status, None),
        Ok(Ok(Some(status))) => (status, Some(format!("answered {status}"))),
        Ok(Err(error)) => (0, Some(error.to_string())),
        Err(_) => (
            0,
            Some(format!("no answer within {} ms", limit.as_millis())),
        ),
    };
    // At a start the interval is a few milliseconds, and nobody is stalled for being that late.
    let stalled = late > interval.max(Duration::from_millis(100));
    Probed {
        begun,
        status,
        latency,
        problem,
        late,
        stalled,
    }
}

/// The status of a GET, or none when a connection is all that is asked.
async fn ask(
    (end, addr): (&Endpoint, &Address),
    path: Option<&str>,
    (greeting, two): (Option<ProxyVersion>, bool),
) -> io::Result<Option<u16>> {
    let mut stream = end.connect(addr).await?;
    if let Some(version) = greeting {
        stream.write_all(&greeting::write(version, None)).await?;
    }
    let Some(path) = path else { return Ok(None) };
    let host = addr.host();
    if two {
        return ask_two(stream, &host, path).await.map(Some);
    }
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: grace-probe\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(256);
    while !line.contains(&b'\n') && line.len() < LINE_MAX {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    status(&line).map(Some).ok_or_else(|| {
        io::Error::other(if line.is_empty() {
            "closed the connection without an answer"
        } else {
            "answered with something that is not HTTP"
        })
    })
}

/// The status of a GET by HTTP/2.
async fn ask_two(stream: Stream, host: &str, path: &str) -> io::Result<u16> {
    let io = TokioIo::new(stream);
    let shaken = http2::handshake(Here, io).await;
    let (mut sender, connection) = shaken.map_err(io::Error::other)?;
    let request = http::Request::get(format!("http://{host}{path}"))
        .header(http::header::USER_AGENT, "grace-probe")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = pin!(sender.send_request(request));
    // Dropped at the end, and the connection with it.
    match select(answer, pin!(connection)).await {
        Either::Left((answer, _)) => answer
            .map(|answer| answer.status().as_u16())
            .map_err(io::Error::other),
        Either::Right((end, _)) => Err(end.err().map_or_else(
            || io::Error::other("closed the connection without an answer"),
            io::Error::other,
        )),
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_and_nothing_else_is_taken_for_one() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503\r\n"), Some(503));
        for bad in [
            &b"SSH-2.0"[..],
            b"HTTP/1.1",
            b"HTTP/1.1 2x4",
            b"HTTP/1.1 999",
            b"",
        ] {
            assert_eq!(status(bad), None);
        }
    }
}
