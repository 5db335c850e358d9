//! Clients: one request, and a steady stream of them that never tries one again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// GET on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> Result<Answer, String> {
    send(addr, "GET", path, "")
}

/// A request on a connection of its own.
pub fn send(addr: SocketAddr, method: &str, path: &str, body: &str) -> Result<Answer, String> {
    let whole = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let length = match method {
            "GET" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{length}\r\n{body}"
        )?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = whole().map_err(|error| error.to_string())?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("no answer: {text:?}"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| head.to_owned())?;
    Ok(Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// Requests one after another from a few threads until it is stopped.
pub struct Traffic {
    end: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    pub fn start(addr: SocketAddr) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let threads = (0..4)
            .map(|thread| {
                let (end, sent) = (Arc::clone(&end), Arc::clone(&sent));
                std::thread::spawn(move || {
                    let mut failures = Vec::new();
                    while !end.load(Ordering::Relaxed) {
                        let number = sent.fetch_add(1, Ordering::Relaxed);
                        let id = format!("t{thread}-{number}");
                        match get(addr, &format!("/hello?id={id}")) {
                            Ok(answer) if answer.status == 200 && answer.body.contains(&id) => {}
                            Ok(answer) => {
                                failures.push(format!("{} {}", answer.status, answer.body))
                            }
                            Err(error) => failures.push(error),
                        }
                        std::thread::sleep(Duration::from_millis(4));
                    }
                    failures
                })
            })
            .collect();
        Self { end, sent, threads }
    }

    /// Requests sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until this many more have been sent.
    pub fn more(&self, requests: u64) {
        let until = self.sent() + requests;
        super::eventually("more requests", || self.sent() >= until);
    }

    /// Stops and tells what failed.
    pub fn stop(self) -> Vec<String> {
        self.end.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("client thread"))
            .collect()
    }
}
