//! Deaths and hangs: how soon an instance serves again, how soon it is out of rotation, and what
//! clients notice under load.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fleet::Fleet;
use super::load::{Load, failed, longest};
use super::peer::{self, Peer};
use super::rounds::{Turn, interleaved, median};
use super::row::{Figure, Spec, at_most, beside};

pub const RESTART_ROWS: &[Spec] = &[
    beside(
        "kill_to_serving_supervisord",
        "ms",
        "lower",
        "supervisord",
        Some(1.0),
    ),
    at_most("out_of_rotation_ms", "ms", "", 10.0),
];
pub const LOAD_ROWS: &[Spec] = &[
    at_most("kill_failed", "requests", "haproxy", 0.0),
    at_most("sigstop_failed", "requests", "haproxy", 0.0),
    at_most("sigstop_longest_ms", "ms", "haproxy", 1500.0),
];

const ROUNDS: usize = 7;
/// The longest that a replacement may take.
const REPLACED: Duration = Duration::from_secs(30);
/// Under load: each round is a third of the minute of kills and of the half minute of stops.
const LOAD_ROUNDS: usize = 3;

pub fn kill(signal: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status()?;
    if !status.success() {
        bail!("kill -{signal} {pid}: {status}");
    }
    Ok(())
}

/// What a server on this port answers, head and body.
pub fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The pid of the sample worker that answers on this port, if one does.
pub fn serving(port: u16) -> Option<u32> {
    let text = get(port, "/hello?id=1").ok()?;
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1.trim()).ok()?;
    u32::try_from(body["pid"].as_u64()?).ok()
}

/// Milliseconds from `kill -9` until another process serves on the port where it is by then.
pub fn back_after(port: impl Fn() -> Option<u16>, old: u32) -> Result<f64> {
    let begun = Instant::now();
    kill("KILL", old)?;
    while begun.elapsed() < Duration::from_secs(30) {
        if port().and_then(serving).is_some_and(|pid| pid != old) {
            return Ok(begun.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    bail!("nobody serves in the place of {old} 30 s after its kill")
}

pub fn restart(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let supervisord = peer::supervisord(grace)?;
    let port: u16 = supervisord
        .listen
        .rsplit(':')
        .next()
        .context("no port")?
        .parse()?;
    let ours = || {
        let first = fleet.instances()?.into_iter().next();
        let (id, pid, _) = first.context("no instance")?;
        back_after(|| fleet.port_of(&id), pid)
    };
    let theirs = || {
        let pid = serving(port).context("supervisord's worker does not serve")?;
        back_after(|| Some(port), pid)
    };
    let out = || {
        // What the restarts of this round started is over.
        std::thread::sleep(Duration::from_secs(1));
        let figure = out_of_rotation(&fleet)?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(figure)
    };
    let turns: &mut [Turn<'_, f64>] = &mut [Box::new(ours), Box::new(theirs), Box::new(out)];
    let figures = interleaved(ROUNDS, turns)?;
    let middle: Vec<f64> = figures
        .into_iter()
        .map(|mut all| median(&mut all))
        .collect();
    Ok(vec![
        Figure::beside(&RESTART_ROWS[0], middle[0], middle[1]),
        Figure::alone(&RESTART_ROWS[1], middle[2]),
    ])
}

/// Time from `kill -9` until the proxy itself says that the process is out of rotation.
fn out_of_rotation(fleet: &Fleet) -> Result<f64> {
    let (id, pid, _) = fleet
        .instances()?
        .into_iter()
        .nth(1)
        .context("no second instance")?;
    let socket = fleet.dir().join("state/run/proxy.sock");
    let stats = || -> Result<Vec<Value>> {
        let mut stream = UnixStream::connect(&socket)?;
        stream.write_all(b"stats\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let stats: Value = serde_json::from_str(&line)?;
        Ok(stats["instances"].as_array().cloned().unwrap_or_default())
    };
    let serves = |one: &Value| {
        ["dead", "ejected", "stopped", "fenced"]
            .iter()
            .all(|out| one[*out] == false)
    };
    let before = stats()?
        .into_iter()
        .find(|one| one["instance"] == id.as_str() && serves(one));
    let Some(before) = before else {
        bail!("{id} (pid {pid}) is not in rotation before the kill");
    };
    let usable = || -> Result<bool> {
        Ok(stats()?.iter().any(|one| {
            one["instance"] == before["instance"]
                && one["generation"] == before["generation"]
                && serves(one)
        }))
    };
    let begun = Instant::now();
    kill("KILL", pid)?;
    while begun.elapsed() < Duration::from_secs(10) {
        if !usable()? {
            return Ok(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    bail!("{id} is in rotation 10 s after its death")
}

/// Two thousand requests a second of 30 ms each, six instances; one is killed every second for a
/// minute, and one is stopped every four seconds for half a minute, in rounds of a third of that
/// each, ours and the peer's in turn.
pub fn under_load(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 6, 30, 1)?;
    // HAProxy with retries in front of the same instances, which Grace restarts; it is told where.
    let haproxy = peer::haproxy(&fleet.ports()?, 1, true)?;
    // Until its checks have seen every server.
    std::thread::sleep(Duration::from_secs(2));
    let (fleet, haproxy) = (&fleet, &haproxy);
    let peer = haproxy;
    let turn = |listen: &str, signal: &'static str, times: u32, every: u64| -> Turn<'_, Value> {
        let listen = listen.to_owned();
        Box::new(move || {
            disturbed(
                grace,
                (fleet, peer),
                &listen,
                signal,
                times,
                Duration::from_secs(every),
            )
        })
    };
    let reports = interleaved(
        LOAD_ROUNDS,
        &mut [
            turn(&fleet.listen, "KILL", 20, 1),
            turn(&haproxy.listen, "KILL", 20, 1),
            turn(&fleet.listen, "STOP", 3, 4),
            turn(&haproxy.listen, "STOP", 3, 4),
        ],
    )?;
    Ok(vec![
        Figure::beside(&LOAD_ROWS[0], failed(&reports[0])?, failed(&reports[1])?),
        Figure::beside(&LOAD_ROWS[1], failed(&reports[2])?, failed(&reports[3])?),
        Figure::beside(
            &LOAD_ROWS[2],
            longest(&reports[2], "longest_ms")?,
            longest(&reports[3], "longest_ms")?,
        ),
    ])
}

/// The load's report while one instance after another gets the signal, `times` in all.
fn disturbed(
    grace: &Path,
    (fleet, peer): (&Fleet, &Peer),
    listen: &str,
    signal: &str,
    times: u32,
    every: Duration,
) -> Result<Value> {
    let load = Load {
        grace,
        listen,
        rate: 2000,
        // Two seconds before the first and three after the last.
        time: every * times + Duration::from_secs(5),
    };
    load.while_it(|| {
        let begun = Instant::now();
        (0..times).try_for_each(|turn| {
            let instances = fleet.instances()?;
            let (id, pid, _) = &instances[turn as usize % instances.len()];
            if *pid > 1 {
                kill(signal, *pid)?;
                fleet.replaced(id, *pid, REPLACED, Some(peer))?;
            }
            std::thread::sleep((every * (turn + 1)).saturating_sub(begun.elapsed()));
            Ok(())
        })
    })
}
