//! A relay before the instance, in Grace's own path: connections of the load balancer come here,
//! and what becomes of them is the fault. Nothing of the machine's network is touched.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use grace_model::chaos::Detour;
use grace_model::id::InstanceId;
use grace_model::layout::Layout;
use grace_os::process;

use crate::deed::{Held, Lasting};
use crate::owner::Order;
use crate::record::Undo;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toxic {
    /// Each piece of an answer is late, by a time and up to `jitter` more.
    Latency { ms: u64, jitter: u64 },
    /// They are refused.
    Down,
    /// So many bytes of answers a second.
    Bandwidth { bytes: u64 },
    /// Taken, never answered, closed.
    Timeout { ms: u64 },
    /// Taken, and nothing moves.
    Partition,
    /// Reset as soon as a request comes.
    Reset,
    /// Answers come in pieces of so many bytes.
    Slicing { bytes: usize },
    /// Closed after so many bytes of an answer.
    Limit { bytes: usize },
    /// Requests but the probe's are answered 500.
    Errors,
    /// Requests but the probe's wait.
    Slow { ms: u64 },
    /// Requests but the probe's are answered 200 with another document.
    Schema,
}

/// Connections at once; more are closed.
const CONNECTIONS: usize = 256;
/// Largest head of a request that is looked into.
const HEAD: usize = 64 * 1024;
/// How often a waiting thread looks whether the fault is over.
const LOOK: Duration = Duration::from_millis(20);

/// The detour's file.
fn file(order: &Order) -> PathBuf {
    let name = format!("{}.detour", order.target);
    Layout::new(&order.state).chaos().join(name)
}

/// The detour goes.
pub(crate) fn plan(order: &Order) -> Undo {
    Undo::Remove { path: file(order) }
}

/// What all threads of a relay know.
struct Relay {
    toxic: Toxic,
    to: SocketAddr,
    probe: Option<String>,
    stop: AtomicBool,
    open: AtomicUsize,
    drawn: AtomicUsize,
    /// Connections, or requests, that the fault has met.
    met: AtomicU64,
}

/// The relay; ends when dropped.
struct Running {
    relay: Arc<Relay>,
    accepting: Option<JoinHandle<()>>,
}

impl Lasting for Running {
    fn met(&self) -> Option<u64> {
        // Who is refused is counted by nobody.
        let counted = self.relay.toxic != Toxic::Down;
        counted.then(|| self.relay.met.load(Ordering::Relaxed))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.relay.stop.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Starts it, then says where it is.
pub(crate) fn start(toxic: Toxic, order: &Order) -> Result<Held> {
    anyhow::ensure!(
        order.port != 0,
        "{} has no port of its own that a relay could stand before",
        order.target
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a relay")?;
    let port = listener.local_addr()?.port();
    let relay = Arc::new(Relay {
        toxic,
        to: SocketAddr::from((Ipv4Addr::LOCALHOST, order.port)),
        probe: order.probe.clone(),
        stop: AtomicBool::new(false),
        open: AtomicUsize::new(0),
        drawn: AtomicUsize::new(0),
        met: AtomicU64::new(0),
    });
    let accepting = if toxic == Toxic::Down {
        // Nobody listens there any more.
        drop(listener);
        None
    } else {
        listener.set_nonblocking(true)?;
        let relay = Arc::clone(&relay);
        Some(std::thread::spawn(move || accept(&listener, &relay)))
    };
    let detour = Detour {
        instance: InstanceId::from(order.target.as_str()),
        port,
        owner: process::own_identity()?,
    };
    let (at, new) = (file(order), file(order).with_extension("new"));
    fs::write(&new, serde_json::to_vec(&detour)?)?;
    fs::rename(&new, &at).with_context(|| format!("cannot write {}", at.display()))?;
    Ok(Some(Box::new(Running { relay, accepting })))
}

fn accept(listener: &TcpListener, relay: &Arc<Relay>) {
    while !relay.stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        if relay.open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            relay.open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let relay = Arc::clone(relay);
        std::thread::spawn(move || {
            // Whatever breaks, breaks this connection: that is what it is for.
            let _ = relay.serve(stream);
            relay.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Relay {
    fn serve(self: &Arc<Self>, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_nodelay(true)?;
        if !matches!(
            self.toxic,
            Toxic::Errors | Toxic::Slow { .. } | Toxic::Schema
        ) {
            self.met.fetch_add(1, Ordering::Relaxed);
        }
        match self.toxic {
            Toxic::Down => return Ok(()),
            Toxic::Partition => {
                self.pause(Duration::from_secs(3_600));
                return Ok(());
            }
            Toxic::Timeout { ms } => {
                self.pause(Duration::from_millis(ms));
                // Closed with bytes that nobody read would be a reset.
                client.set_nonblocking(true)?;
                while client.read(&mut [0; 4_096])? > 0 {}
                return Ok(());
            }
            Toxic::Reset => {
                client.set_read_timeout(Some(Duration::from_secs(60)))?;
                // Closed with bytes that nobody read, the kernel answers them with a reset.
                client.peek(&mut [0; 1])?;
                return Ok(());
            }
            Toxic::Errors | Toxic::Slow { .. } | Toxic::Schema => {
                return self.request(client);
            }
            Toxic::Latency { .. }
            | Toxic::Bandwidth { .. }
            | Toxic::Slicing { .. }
            | Toxic::Limit { .. } => {}
        }
        let server = TcpStream::connect_timeout(&self.to, Duration::from_secs(2))?;
        server.set_nodelay(true)?;
        let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Write);
        });
        let done = self.answers(server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = up.join();
        done
    }

    /// Moves answers, with what is to be done to them.
    fn answers(&self, mut server: TcpStream, client: &mut TcpStream) -> std::io::Result<()> {
        server.set_read_timeout(Some(LOOK))?;
        let (mut piece, mut moved) = ([0_u8; 4_096], 0_usize);
        while !self.stop.load(Ordering::Relaxed) {
            let read = match server.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if quiet(&error) => continue,
                Err(error) => return Err(error),
            };
            let bytes = piece.get(..read).unwrap_or_default();
            match self.toxic {
                Toxic::Latency { ms, jitter } => {
                    self.pause(Duration::from_millis(ms + self.draw(jitter)));
                    client.write_all(bytes)?;
                }
                Toxic::Bandwidth { bytes: rate } => {
                    for part in bytes.chunks(64) {
                        client.write_all(part)?;
                        let micros = (part.len() as u64).saturating_mul(1_000_000) / rate.max(1);
                        self.pause(Duration::from_micros(micros));
                    }
                }
                Toxic::Slicing { bytes: size } => {
                    for part in bytes.chunks(size.max(1)) {
                        client.write_all(part)?;
                        self.pause(Duration::from_millis(2));
                    }
                }
                Toxic::Limit { bytes: most } => {
                    let left = most.saturating_sub(moved);
                    moved += read;
                    client.write_all(bytes.get(..left.min(read)).unwrap_or_default())?;
                    if moved >= most {
                        break;
                    }
                }
                _ => client.write_all(bytes)?,
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        Ok(())
    }

    /// One request a connection, so that each of them is met.
    fn request(self: &Arc<Self>, mut client: TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break at;
            }
            let mut piece = [0_u8; 4_096];
            let read = client.read(&mut piece)?;
            if read == 0 || bytes.len() > HEAD {
                return Ok(());
            }
            bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        if self.probe.as_deref() != Some(path) {
            self.met.fetch_add(1, Ordering::Relaxed);
            match self.toxic {
                Toxic::Errors => return answer(&mut client, "500 Internal Server Error", "{}"),
                Toxic::Schema => return answer(&mut client, "200 OK", "{\"chaos\":[null]}"),
                Toxic::Slow { ms } => self.pause(Duration::from_millis(ms)),
                _ => {}
            }
        }
        let mut server = TcpStream::connect_timeout(&self.to, Duration::from_secs(2))?;
        server.write_all(once(&head).as_bytes())?;
        server.write_all(bytes.get(end + 4..).unwrap_or_default())?;
        let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut up_from, &mut up_to);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        let _ = up.join();
        Ok(())
    }

    /// Sleeps, but not beyond the fault's end.
    fn pause(&self, time: Duration) {
        let begun = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            match time.checked_sub(begun.elapsed()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(LOOK)),
                _ => return,
            }
        }
    }

    /// A number below `most`, the same row of them in every run.
    fn draw(&self, most: u64) -> u64 {
        let turn = self.drawn.fetch_add(1, Ordering::Relaxed) as u64;
        // Fibonacci hashing spreads a counter evenly.
        (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % most.max(1)
    }
}

fn quiet(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

/// The head of a request that is the last on its connection.
fn once(head: &str) -> String {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let rest = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut out = format!("{first}\r\nConnection: close\r\n");
    for line in rest {
        out.push_str(line);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    out
}

fn answer(client: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    client.write_all(
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )?;
    client.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_passed_on_is_the_last_of_its_connection() {
        let head = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive";
        assert_eq!(
            once(head),
            "GET /a HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n"
        );
    }

    /// A server that answers every connection with this many bytes, and a relay before it.
    fn through(toxic: Toxic, path: &str) -> Option<Vec<u8>> {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        let to = server.local_addr().expect("address");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = server.accept() {
                let mut piece = [0; 1_024];
                let _ = stream.read(&mut piece);
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
            }
        });
        let relay = Arc::new(Relay {
            toxic,
            to,
            probe: Some("/healthz".to_owned()),
            stop: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            drawn: AtomicUsize::new(0),
            met: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let at = listener.local_addr().expect("address");
        listener.set_nonblocking(true).expect("nonblocking");
        let serving = Arc::clone(&relay);
        let accepting = std::thread::spawn(move || accept(&listener, &serving));
        let mut stream = TcpStream::connect(at).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("timeout");
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("write");
        let mut bytes = Vec::new();
        let done = stream.read_to_end(&mut bytes);
        relay.stop.store(true, Ordering::Relaxed);
        accepting.join().expect("accepting");
        done.ok().map(|_| bytes)
    }

    #[test]
    fn each_relay_does_to_answers_what_its_name_says() {
        let whole = through(Toxic::Slicing { bytes: 3 }, "/a").expect("an answer");
        assert!(whole.ends_with(b"0123456789"));
        let whole = through(Toxic::Latency { ms: 50, jitter: 10 }, "/a").expect("an answer");
        assert!(whole.ends_with(b"0123456789"));
        assert_eq!(
            through(Toxic::Limit { bytes: 20 }, "/a").map(|it| it.len()),
            Some(20)
        );
        assert_eq!(through(Toxic::Reset, "/a"), None);
        assert_eq!(through(Toxic::Timeout { ms: 50 }, "/a"), Some(vec![]));
        assert_eq!(
            through(Toxic::Partition, "/a"),
            None,
            "it ended by the reader's limit"
        );
        let error = through(Toxic::Errors, "/a").expect("an answer");
        assert!(error.starts_with(b"HTTP/1.1 500"));
        let probe = through(Toxic::Errors, "/healthz").expect("an answer");
        assert!(probe.starts_with(b"HTTP/1.1 200"));
        let other = through(Toxic::Schema, "/a").expect("an answer");
        assert!(other.ends_with(b"{\"chaos\":[null]}"));
    }
}
