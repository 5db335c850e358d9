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
use super::peer;
use super::proxy::open_load;
use super::row::{Row, median};

pub const RESTART_ROWS: &[&str] = &["kill_to_serving_supervisord", "out_of_rotation_ms"];
pub const LOAD_ROWS: &[&str] = &["kill_failed", "sigstop_failed", "sigstop_longest_ms"];

const ROUNDS: usize = 7;

fn kill(signal: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status()?;
    if !status.success() {
        bail!("kill -{signal} {pid}: {status}");
    }
    Ok(())
}

/// The pid of the sample worker that answers on this port, if one does.
fn serving(port: u16) -> Option<u32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream
        .write_all(b"GET /hello?id=1 HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1.trim()).ok()?;
    u32::try_from(body["pid"].as_u64()?).ok()
}

fn back_after(port: u16, old: u32) -> Result<f64> {
    let begun = Instant::now();
    kill("KILL", old)?;
    while begun.elapsed() < Duration::from_secs(30) {
        if serving(port).is_some_and(|pid| pid != old) {
            return Ok(begun.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    bail!("nobody serves on {port} 30 s after the kill")
}

pub fn restart(grace: &Path) -> Result<Vec<Row>> {
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let supervisord = peer::supervisord(grace)?;
    let port: u16 = supervisord
        .listen
        .rsplit(':')
        .next()
        .context("no port")?
        .parse()?;
    let (mut ours, mut theirs, mut out) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let (_, pid, own) = fleet
            .instances()?
            .into_iter()
            .next()
            .context("no instance")?;
        ours.push(back_after(own, pid)?);
        let pid = serving(port).context("supervisord's worker does not serve")?;
        theirs.push(back_after(port, pid)?);
        std::thread::sleep(Duration::from_secs(1));
        out.push(out_of_rotation(&fleet)?);
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(vec![
        Row {
            name: RESTART_ROWS[0],
            unit: "ms",
            better: "lower",
            ours: median(&mut ours),
            peer: Some(median(&mut theirs)),
            peer_name: "supervisord",
            goal: Some(1.0),
            goal_on: "ratio",
        },
        Row {
            name: RESTART_ROWS[1],
            unit: "ms",
            better: "lower",
            ours: median(&mut out),
            peer: None,
            peer_name: "",
            goal: Some(10.0),
            goal_on: "ours",
        },
    ])
}

/// Time from `kill -9` until the proxy itself says that the process is out of rotation.
fn out_of_rotation(fleet: &Fleet) -> Result<f64> {
    let (id, pid, _) = fleet
        .instances()?
        .into_iter()
        .nth(1)
        .context("no second instance")?;
    let socket = fleet.dir.join("state/run/proxy.sock");
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
/// minute, then one is stopped every four seconds for half a minute.
pub fn under_load(grace: &Path) -> Result<Vec<Row>> {
    let fleet = Fleet::start(grace, 6, 30, 1)?;
    let killed = disturbed(
        grace,
        &fleet,
        &fleet.listen,
        "KILL",
        60,
        Duration::from_secs(1),
    )?;
    let stopped = disturbed(
        grace,
        &fleet,
        &fleet.listen,
        "STOP",
        30,
        Duration::from_secs(4),
    )?;
    let figure = |report: &Value, key: &str| {
        report[key]
            .as_f64()
            .with_context(|| format!("the load tells no {key}"))
    };
    // HAProxy with retries in front of the same instances, which Grace restarts on the same ports.
    let ports: Vec<u16> = fleet
        .instances()?
        .into_iter()
        .map(|(_, _, port)| port)
        .collect();
    let haproxy = peer::haproxy(&ports, 1, true)?;
    std::thread::sleep(Duration::from_secs(2));
    let hap_killed = disturbed(
        grace,
        &fleet,
        &haproxy.listen,
        "KILL",
        60,
        Duration::from_secs(1),
    )?;
    let hap_stopped = disturbed(
        grace,
        &fleet,
        &haproxy.listen,
        "STOP",
        30,
        Duration::from_secs(4),
    )?;
    let row = |name, unit, ours, peer, goal| Row {
        name,
        unit,
        better: "lower",
        ours,
        peer: Some(peer),
        peer_name: "haproxy",
        goal: Some(goal),
        goal_on: "ours",
    };
    Ok(vec![
        row(
            LOAD_ROWS[0],
            "requests",
            figure(&killed, "failed")?,
            figure(&hap_killed, "failed")?,
            0.0,
        ),
        row(
            LOAD_ROWS[1],
            "requests",
            figure(&stopped, "failed")?,
            figure(&hap_stopped, "failed")?,
            0.0,
        ),
        row(
            LOAD_ROWS[2],
            "ms",
            figure(&stopped, "longest_ms")?,
            figure(&hap_stopped, "longest_ms")?,
            1500.0,
        ),
    ])
}

fn disturbed(
    grace: &Path,
    fleet: &Fleet,
    listen: &str,
    signal: &str,
    seconds: u64,
    every: Duration,
) -> Result<Value> {
    let (grace, listen) = (grace.to_owned(), listen.to_owned());
    let load = std::thread::spawn(move || open_load(&grace, &listen, 2000, &format!("{seconds}s")));
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    let mut turn = 0;
    while begun.elapsed() + every < Duration::from_secs(seconds.saturating_sub(3)) {
        let instances = fleet.instances()?;
        let (_, pid, _) = &instances[turn % instances.len()];
        if *pid > 1 {
            kill(signal, *pid)?;
        }
        turn += 1;
        std::thread::sleep(every);
    }
    load.join()
        .map_err(|_| anyhow::anyhow!("the load's thread ended badly"))?
}
