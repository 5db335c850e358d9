//! What Grace adds: time to a restart, memory for an instance and for a connection, processor time
//! of a request when there are many instances.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::fleet::Fleet;
use super::idle::{own_kib, pss_kib, ticks};
use super::kill::{back_after, kill, serving};
use super::load::wrk;
use super::peer;
use super::process::{descendants, end};
use super::rounds::{Turn, interleaved, median};
use super::row::{Figure, Spec, at_most, beside};
use crate::command::succeed;

pub const RESTART_ROWS: &[Spec] = &[at_most("restart_overhead_ms", "ms", "", 5.0)];
pub const INSTANCE_ROWS: &[Spec] = &[at_most("idle_instance_kib", "KiB", "", 256.0)];
pub const CONNECTION_ROWS: &[Spec] = &[beside(
    "conn_10k_haproxy",
    "KiB",
    "lower",
    "haproxy",
    Some(1.5),
)];
pub const MANY_ROWS: &[Spec] = &[beside(
    "instance_200_vs_2",
    "us",
    "lower",
    "2 instances",
    Some(1.2),
)];

const RESTARTS: usize = 15;
/// Instances that share the restarts.
const INSTANCES: u32 = 6;
/// Idle instances: so many, and so many more.
const IDLE: (u32, u32) = (2, 50);
/// Until what starting needs is given back, and everything was looked at several times.
const SETTLE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 10_000;
/// Open files that they need on our side, and on that of a proxy that counts two for each.
const FILES: (usize, u32) = (CONNECTIONS + 500, 12_000);
const MANY: [u32; 2] = [200, 2];
const MANY_ROUNDS: usize = 5;

/// A worker that is started again by a program that does nothing else.
struct Bare {
    child: Child,
    grace: std::path::PathBuf,
    port: u16,
}

impl Bare {
    fn start(grace: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut bare = Self {
            child: spawn(grace, port)?,
            grace: grace.to_owned(),
            port,
        };
        bare.served()?;
        Ok(bare)
    }

    /// Until it serves.
    fn served(&mut self) -> Result<()> {
        let begun = Instant::now();
        while serving(self.port) != Some(self.child.id()) {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("the worker does not serve on {} after 30 s", self.port);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Milliseconds from `kill -9` until another process serves, by bare fork and exec.
    fn back(&mut self) -> Result<f64> {
        let begun = Instant::now();
        kill("KILL", self.child.id())?;
        self.child.wait()?;
        self.child = spawn(&self.grace, self.port)?;
        self.served()?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        end(&mut self.child, Duration::from_secs(5));
    }
}

fn spawn(grace: &Path, port: u16) -> Result<Child> {
    Command::new(grace)
        .args(["internal", "shop-worker", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the worker")
}

/// Ours less bare fork and exec of the same program, each from its `kill -9` until it serves.
pub fn restart(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, INSTANCES, 0, 1)?;
    let mut bare = Bare::start(grace)?;
    let mut turn = 0;
    let ours = || {
        // In turn, since one that dies again and again is given up.
        let one = fleet
            .instances()?
            .into_iter()
            .nth(turn % INSTANCES as usize);
        turn += 1;
        let (id, pid, _) = one.context("no instance")?;
        back_after(|| fleet.port_of(&id), pid)
    };
    let turns: &mut [Turn<'_, f64>] = &mut [Box::new(ours), Box::new(|| bare.back())];
    let mut all = interleaved(RESTARTS, turns)?;
    let middle: Vec<f64> = all.iter_mut().map(|all| median(all)).collect();
    eprintln!("kill to serving, in ms: {middle:?}");
    Ok(vec![Figure::alone(&RESTART_ROWS[0], middle[0] - middle[1])])
}

/// Memory that Grace's own processes have made, for each of fifty instances more. Not what is in
/// files: the instances are the same program here, and the more share its code, the smaller is
/// everybody's part of it.
pub fn idle_instance(grace: &Path) -> Result<Vec<Figure>> {
    let own = |instances: u32| -> Result<f64> {
        let fleet = Fleet::start(grace, instances, 0, 1)?;
        std::thread::sleep(SETTLE);
        let all = fleet.processes()?;
        let kib = all.iter().map(|(_, pid)| own_kib(*pid));
        Ok(kib.sum::<Result<u64>>()? as f64)
    };
    let few = own(IDLE.0)?;
    let many = own(IDLE.0 + IDLE.1)?;
    Ok(vec![Figure::alone(
        &INSTANCE_ROWS[0],
        (many - few) / f64::from(IDLE.1),
    )])
}

/// Memory of the proxy that holds ten thousand connections, each of which has asked once.
pub fn connections(grace: &Path) -> Result<Vec<Figure>> {
    more_files()?;
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let haproxy = peer::haproxy_for(FILES.1, &fleet.ports()?, 1, true)?;
    let ours = held(&fleet.listen, fleet.process("proxy")?, CONNECTIONS)?;
    let theirs = held(&haproxy.listen, haproxy.pid(), CONNECTIONS)?;
    Ok(vec![Figure::beside(&CONNECTION_ROWS[0], ours, theirs)])
}

/// Lets this process open as many files as it takes.
fn more_files() -> Result<()> {
    let text = std::fs::read_to_string("/proc/self/limits")?;
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix("Max open files"));
    let hard = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(usize::MAX);
    if hard < FILES.0 {
        bail!(
            "only {hard} open files are allowed; raise it: ulimit -Hn {}",
            FILES.0
        );
    }
    succeed(Command::new("prlimit").args([
        format!("--pid={}", std::process::id()),
        format!("--nofile={}:", FILES.0.max(1024)),
    ]))
}

/// KiB of a process and what it started, while so many connections to it are open.
fn held(listen: &str, pid: u32, connections: usize) -> Result<f64> {
    let to: SocketAddr = listen.parse()?;
    let mut open = Vec::with_capacity(connections);
    let mut answer = [0; 1024];
    for number in 0..connections {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))
            .with_context(|| format!("connection {number} to {listen}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /hello?id=1 HTTP/1.1\r\nHost: b\r\n\r\n")?;
        let count = stream.read(&mut answer)?;
        if !answer[..count].starts_with(b"HTTP/1.1 200") {
            bail!("connection {number} to {listen} was answered badly");
        }
        open.push(stream);
    }
    let mut kib = pss_kib(pid)?;
    for below in descendants(pid) {
        kib += pss_kib(below.pid())?;
    }
    // That they are all still there: what was closed would cost nothing.
    for (number, stream) in open.iter_mut().enumerate() {
        stream.write_all(b"GET /hello?id=1 HTTP/1.1\r\nHost: b\r\n\r\n")?;
        let count = stream.read(&mut answer)?;
        if count == 0 {
            bail!("{listen} closed connection {number} before it was counted");
        }
    }
    Ok(kib as f64)
}

/// Processor time of the proxy for a request, with two hundred instances and with two, probes
/// and all.
pub fn many(grace: &Path) -> Result<Vec<Figure>> {
    let program = peer::need("wrk", "wrk")?;
    let fleets = [
        Fleet::start(grace, MANY[0], 0, 1)?,
        Fleet::start(grace, MANY[1], 0, 1)?,
    ];
    std::thread::sleep(SETTLE);
    let program = &program;
    let mut turns: Vec<Turn<'_, f64>> = Vec::new();
    for fleet in &fleets {
        let pid = fleet.process("proxy")?;
        turns.push(Box::new(move || {
            let url = format!("http://{}/hello?id=1", fleet.listen);
            let (seconds, before) = (4, ticks(pid)?);
            let rate = wrk(program, 32, seconds, &url, false)?;
            let used = (ticks(pid)? - before) as f64 * 10_000.0;
            Ok(used / (rate * seconds as f64))
        }));
    }
    // Every connection that there will be is open when it is measured.
    interleaved(1, &mut turns)?;
    let mut all = interleaved(MANY_ROUNDS, &mut turns)?;
    let middle: Vec<f64> = all.iter_mut().map(|all| median(all)).collect();
    Ok(vec![Figure::beside(&MANY_ROWS[0], middle[0], middle[1])])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every connection once.
    fn server(answer: &'static [u8], keeps: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(answer);
                kept.extend(keeps.then_some(stream));
            }
        });
        listen
    }

    #[test]
    fn a_connection_that_is_closed_or_answered_badly_is_not_counted_as_held() {
        let own = std::process::id();
        let closed = held(&server(b"HTTP/1.1 200 OK\r\n\r\n", false), own, 3);
        assert!(closed.is_err());
        let bad = held(&server(b"HTTP/1.1 404 Not Found\r\n\r\n", true), own, 3);
        assert!(bad.unwrap_err().to_string().contains("answered badly"));
    }
}
