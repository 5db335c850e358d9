//! Load from outside: the open-loop load while something happens, closed-loop rates by wrk, and
//! clients that knock with a connection for every request.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::process::bounded;
use crate::command::line as command_line;

/// What a load may take beyond its time: every request ends by its own timeout of 20 s.
const GRACE: Duration = Duration::from_secs(60);

/// What is asked for, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    pub grace: &'a Path,
    pub listen: &'a str,
    /// Requests a second.
    pub rate: u32,
    pub time: Duration,
}

impl Load<'_> {
    /// Runs it to its end; its report. Failed requests are counted, and no error.
    pub fn run(&self) -> Result<Value> {
        let mut command = Command::new(self.grace);
        command.args([
            "internal",
            "open-load",
            "--url",
            &format!("http://{}/hello", self.listen),
            "--rate",
            &self.rate.to_string(),
            "--for",
            &format!("{}ms", self.time.as_millis()),
            "--timeout",
            "20s",
        ]);
        let (status, text, words) = bounded(&mut command, self.time + GRACE)?;
        // 1 says that requests failed, which is what some rows count.
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("the load could not run ({status}): {}", words.trim());
        }
        let last = text
            .lines()
            .rfind(|line| line.starts_with('{'))
            .context("the load printed nothing")?;
        Ok(serde_json::from_str(last)?)
    }

    /// Its report, while `happens` happens from the second second on. The load is over when this
    /// returns, also after an error.
    pub fn while_it(&self, happens: impl FnOnce() -> Result<()>) -> Result<Value> {
        std::thread::scope(|scope| {
            let load = scope.spawn(|| self.run());
            std::thread::sleep(Duration::from_secs(2));
            let done = happens();
            let report = load.join().map_err(|_| anyhow!("the load ended badly"))?;
            done.and(report)
        })
    }
}

/// A figure of every report.
pub fn figures(reports: &[Value], key: &str) -> Result<Vec<f64>> {
    let figure = |report: &Value| {
        report[key]
            .as_f64()
            .with_context(|| format!("the load tells no {key}"))
    };
    reports.iter().map(figure).collect()
}

/// Of all rounds together: the row is about all of the time, and a median of the rounds would
/// hide a failed request. What failed and why is said.
pub fn failed(reports: &[Value]) -> Result<f64> {
    for failure in reports
        .iter()
        .filter_map(|report| report["failures"].as_array())
        .flatten()
    {
        eprintln!("failed: {failure}");
    }
    Ok(figures(reports, "failed")?.iter().sum())
}

/// Of all rounds, for the same reason.
pub fn longest(reports: &[Value], key: &str) -> Result<f64> {
    Ok(figures(reports, key)?.into_iter().fold(0.0, f64::max))
}

/// Answers a second to as many connections, each asking again at once.
pub fn wrk(wrk: &Path, connections: u32, seconds: u64, url: &str, close: bool) -> Result<f64> {
    let mut command = Command::new(wrk);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
    if close {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(url);
    let (status, text, words) = bounded(&mut command, Duration::from_secs(seconds) + GRACE)?;
    if !status.success() {
        bail!("{}: {status}: {}", command_line(&command), words.trim());
    }
    rate(&text).with_context(|| command_line(&command))
}

/// What wrk prints; an error when more than one request in a thousand went wrong.
fn rate(text: &str) -> Result<f64> {
    let after = |prefix: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(prefix))
            .map(str::trim)
    };
    let total: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .context("wrk prints no count")?;
    let wrong: f64 = after("Non-2xx or 3xx responses:")
        .into_iter()
        .chain(after("Socket errors:"))
        .flat_map(|text| text.split([' ', ',']))
        .filter_map(|word| word.parse::<f64>().ok())
        .sum();
    if wrong * 1000.0 > total {
        bail!("wrk saw {wrong} failures in {total} requests");
    }
    let rate = after("Requests/sec:").context("wrk prints no rate")?;
    Ok(rate.parse()?)
}

/// Clients that open a connection for every request, until they are told to stop.
pub struct Knocking {
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    made: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knocked {
    /// Connections that came about.
    pub made: u64,
    /// Of these, those whose request got an answer.
    pub answered: u64,
    /// Connections that did not come about.
    pub refused: u64,
}

impl Knocking {
    pub fn start(listen: &str, clients: usize) -> Result<Self> {
        let to: SocketAddr = listen.parse()?;
        let counts = Arc::new(Counts::default());
        let clients = (0..clients)
            .map(|_| {
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || counts.knock(to))
            })
            .collect();
        Ok(Self { counts, clients })
    }

    pub fn stop(self) -> Knocked {
        self.counts.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            let _ = client.join();
        }
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Knocked {
            made: count(&self.counts.made),
            answered: count(&self.counts.answered),
            refused: count(&self.counts.refused),
        }
    }
}

impl Counts {
    fn knock(&self, to: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            match TcpStream::connect_timeout(&to, Duration::from_secs(5)) {
                Ok(stream) => {
                    self.made.fetch_add(1, Ordering::Relaxed);
                    if answered(stream) {
                        self.answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Our own side has run out of ports, which says nothing of the other.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
                Err(error) => {
                    eprintln!("refused: {error}");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn answered(mut stream: TcpStream) -> bool {
    let ask = || -> std::io::Result<String> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /hello?id=1 HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let mut ask = ask;
    ask().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn one_failure_in_one_round_is_not_lost_in_a_median() {
        let reports = [(0, 40.0), (1, 900.0), (0, 30.0)].map(
            |(failed, longest)| serde_json::json!({ "failed": failed, "longest_ms": longest }),
        );
        assert!((failed(&reports).unwrap() - 1.0).abs() < 1e-9);
        assert!((longest(&reports, "longest_ms").unwrap() - 900.0).abs() < 1e-9);
        assert!(failed(&[serde_json::json!({})]).is_err());
    }

    #[test]
    fn a_rate_with_failures_in_it_is_no_rate() {
        let text = |more: &str| {
            format!(
                "Running 3s test @ http://x\n  60000 requests in 3.00s, 9MB read\n{more}Requests/sec:  20000.50\n"
            )
        };
        assert!((rate(&text("")).unwrap() - 20_000.5).abs() < 1e-9);
        let few = "  Socket errors: connect 0, read 12, write 0, timeout 3\n";
        assert!(rate(&text(few)).is_ok());
        for many in [
            "  Socket errors: connect 0, read 0, write 0, timeout 61\n",
            "  Non-2xx or 3xx responses: 100\n",
        ] {
            let error = rate(&text(many)).unwrap_err().to_string();
            assert!(error.contains("failures in 60000"), "{error}");
        }
        assert!(rate("unable to connect").is_err());
    }

    #[test]
    fn knocking_counts_what_is_refused_apart_from_what_is_not_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let knocking = Knocking::start(&to.to_string(), 1).unwrap();
        let (mut first, _) = listener.accept().unwrap();
        assert!(first.read(&mut [0; 512]).unwrap() > 0);
        first.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        drop(first);
        // One that is taken and gets no answer.
        drop(listener.accept().unwrap());
        let before = knocking.counts.refused.load(Ordering::Relaxed);
        drop(listener);
        while knocking.counts.refused.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let knocked = knocking.stop();
        assert_eq!(before, 0);
        assert!(knocked.made >= 2 && knocked.refused > 0, "{knocked:?}");
        assert_eq!(knocked.answered, 1);
    }
}
