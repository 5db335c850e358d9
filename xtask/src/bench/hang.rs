//! Three ways to hang, under load: a process that is stopped, one that accepts and never answers,
//! and a connection into a black hole. Beside HAProxy with retries in front of the same instances,
//! which Grace restarts; it is told where.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::fleet::Fleet;
use super::kill::{get, kill};
use super::load::{Load, failed, longest};
use super::peer;
use super::rounds::{Turn, interleaved};
use super::row::{Figure, Spec, at_most};

pub const ROWS: &[Spec] = &[
    at_most("hang_failed", "requests", "haproxy", 0.0),
    at_most("hang_longest_ms", "ms", "haproxy", 1000.0),
];

const ROUNDS: usize = 3;
const RATE: u32 = 1000;
/// Milliseconds of each answer, so that some are under way whenever something happens.
const DELAY_MS: u32 = 10;
/// From one hang to the next.
const EVERY: Duration = Duration::from_secs(4);
/// The longest that a replacement may take.
const REPLACED: Duration = Duration::from_secs(30);
/// The longest queue of a listener that can be filled: fewer than we may open files.
const QUEUE: usize = 900;

/// How one hangs.
#[derive(Debug, Clone, Copy)]
enum Way {
    Stopped,
    Silent,
    BlackHole,
}

pub fn measure(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 6, DELAY_MS, 1)?;
    let haproxy = peer::haproxy(&fleet.ports()?, 1, true)?;
    // Until its checks have seen every server.
    std::thread::sleep(Duration::from_secs(2));
    let (fleet, peer) = (&fleet, &haproxy);
    let turn = |listen: &str| -> Turn<'_, serde_json::Value> {
        let listen = listen.to_owned();
        Box::new(move || {
            let load = Load {
                grace,
                listen: &listen,
                rate: RATE,
                time: EVERY * 3 + Duration::from_secs(10),
            };
            load.while_it(|| {
                for (at, way) in [Way::Stopped, Way::Silent, Way::BlackHole]
                    .iter()
                    .enumerate()
                {
                    let begun = Instant::now();
                    let (id, pid, port) = running(fleet, at)?;
                    // What fills a queue is held until the instance was replaced.
                    let held = hang(*way, pid, port)?;
                    fleet
                        .replaced(&id, pid, REPLACED, Some(peer))
                        .with_context(|| format!("{way:?}"))?;
                    eprintln!("{way:?}: replaced after {} ms", begun.elapsed().as_millis());
                    drop(held);
                    std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
                }
                Ok(())
            })
        })
    };
    let turns = &mut [turn(&fleet.listen), turn(&haproxy.listen)];
    let reports = interleaved(ROUNDS, turns)?;
    let of = |key| -> Result<(f64, f64)> {
        Ok((longest(&reports[0], key)?, longest(&reports[1], key)?))
    };
    let (ours, theirs) = of("longest_ms")?;
    Ok(vec![
        Figure::beside(&ROWS[0], failed(&reports[0])?, failed(&reports[1])?),
        Figure::beside(&ROWS[1], ours, theirs),
    ])
}

/// An instance that runs.
fn running(fleet: &Fleet, at: usize) -> Result<(String, u32, u16)> {
    let one = fleet.instances()?.into_iter().nth(at);
    let one = one.context("no such instance")?;
    if one.1 < 2 {
        bail!("{} does not run", one.0);
    }
    Ok(one)
}

fn hang(way: Way, pid: u32, port: u16) -> Result<Vec<TcpStream>> {
    match way {
        Way::Stopped => kill("STOP", pid).map(|()| Vec::new()),
        Way::Silent => silence(port).map(|()| Vec::new()),
        Way::BlackHole => {
            silence(port)?;
            fill(port)
        }
    }
}

/// Its thread stands still soon after the answer: the kernel goes on accepting.
fn silence(port: u16) -> Result<()> {
    let answer = get(port, "/break?hang=1").context("the instance does not take the order")?;
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("the instance does not take the order: {answer}");
    }
    std::thread::sleep(Duration::from_millis(60));
    Ok(())
}

/// Connects to a listener that accepts nothing until its queue is full: from then on the kernel
/// drops every packet that would open a connection, as a network does that lost the machine.
fn fill(port: u16) -> Result<Vec<TcpStream>> {
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let mut held = Vec::new();
    while held.len() < QUEUE {
        match TcpStream::connect_timeout(&to, Duration::from_millis(100)) {
            Ok(stream) => held.push(stream),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Ok(held),
            // It was restarted meanwhile, which is what is measured.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(held),
            Err(error) => return Err(error).context("its queue cannot be filled"),
        }
    }
    bail!("the queue of port {port} holds more than {QUEUE} connections")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_full_queue_drops_whoever_comes_next() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = fill(port).unwrap();
        assert!(!held.is_empty());
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let error = TcpStream::connect_timeout(&to, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
