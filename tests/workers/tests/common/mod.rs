//! Starting workers and asking them by hand.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its own part; what surrounds a test fails it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const LONG: Duration = Duration::from_secs(20);

/// A worker that ends with its test.
pub struct Worker {
    pub child: Child,
    pub addr: SocketAddr,
    pub out: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one on a free port.
    pub fn start(args: &[&str]) -> Self {
        let mut child = command(args)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert!(
                out.read_line(&mut line).unwrap() > 0,
                "it ended before it listened"
            );
        }
        let addr = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .parse()
            .unwrap();
        Self { child, addr, out }
    }

    pub fn get(&self, target: &str) -> (u16, String) {
        get(self.addr, target).unwrap()
    }

    pub fn signal(&self, signal: grace_os::Signal) {
        let handle = grace_os::pidfd::open(self.child.id()).unwrap();
        grace_os::pidfd::send_signal(handle, signal).unwrap();
    }

    pub fn end(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop-worker"));
    command.args(args).stderr(Stdio::null());
    command
}

/// Waits for a child's end, at most 20 s.
pub fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    until("the end of a child", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// One request on a connection of its own: status and body.
pub fn get(addr: SocketAddr, target: &str) -> std::io::Result<(u16, String)> {
    send(
        addr,
        &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

pub fn send(addr: SocketAddr, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(bad)?;
    Ok((status, body.to_owned()))
}

pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !check() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
