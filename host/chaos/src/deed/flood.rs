//! Clients that are too many, too slow or silent. Bounded in number, and ended with their owner.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::deed::{Held, Lasting};
use crate::owner::Order;

/// Which clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Idle connections to the instance itself.
    Instance,
    /// Idle connections to the front.
    Idle,
    /// Requests to the front.
    Requests,
    /// Requests that come a byte a second.
    Slow,
}

/// Idle connections.
const IDLE: usize = 200;
/// Clients that ask.
const ASKING: usize = 16;
/// Clients that are slow.
const SLOW: usize = 100;
const CONNECT: Duration = Duration::from_secs(2);

/// Threads that end when it is dropped.
struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    // Held open.
    _idle: Vec<TcpStream>,
}

impl Lasting for Crowd {}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Starts them.
pub(crate) fn start(flood: Flood, order: &Order) -> Result<Held> {
    let to = match flood {
        Flood::Instance if order.port != 0 => SocketAddr::from((Ipv4Addr::LOCALHOST, order.port)),
        Flood::Instance => anyhow::bail!("{} has no port of its own", order.target),
        _ => order.front.context("its service has no `listen`")?,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut crowd = Crowd {
        stop: Arc::clone(&stop),
        threads: Vec::new(),
        _idle: Vec::new(),
    };
    let connect = || TcpStream::connect_timeout(&to, CONNECT);
    match flood {
        Flood::Instance | Flood::Idle => {
            // As many as the other side takes: it may have fewer descriptors, which is the point.
            crowd._idle = (0..IDLE).map_while(|_| connect().ok()).collect();
            anyhow::ensure!(!crowd._idle.is_empty(), "{to} takes no connection");
        }
        Flood::Requests => {
            for _ in 0..ASKING {
                let (stop, path) = (Arc::clone(&stop), order.path.clone());
                crowd.threads.push(std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = grace_demo::client::get(to, &path, CONNECT);
                    }
                }));
            }
        }
        Flood::Slow => {
            let streams: Vec<TcpStream> = (0..SLOW).map_while(|_| connect().ok()).collect();
            anyhow::ensure!(!streams.is_empty(), "{to} takes no connection");
            crowd
                .threads
                .push(std::thread::spawn(move || dribble(streams, &stop)));
        }
    }
    Ok(Some(Box::new(crowd)))
}

/// A byte a second of a request that never ends, on each.
fn dribble(mut streams: Vec<TcpStream>, stop: &AtomicBool) {
    let request = b"GET / HTTP/1.1\r\nHost: chaos\r\nX: ";
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let byte = [request.get(at).copied().unwrap_or(b'x')];
        at += 1;
        streams.retain_mut(|stream| stream.write_all(&byte).is_ok() && !closed(stream));
        for _ in 0..20 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn closed(stream: &mut TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let gone = matches!(stream.read(&mut [0; 64]), Ok(0));
    let _ = stream.set_nonblocking(false);
    gone
}
