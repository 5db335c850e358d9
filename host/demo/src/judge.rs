//! The judge: looks from outside at an instance's port, its process and its files.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an instance may take to answer the judge.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the instance on `port` answers a request of the judge's with 200 and its id.
pub fn answers(port: u16, number: u64) -> bool {
    let id = format!("judge-{number}");
    ask(port, &id).is_some_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains(&id))
}

fn ask(port: u16, id: &str) -> Option<String> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    let head = format!("GET /hello?id={id} HTTP/1.1\r\nHost: judge\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut part = [0_u8; 4096];
    while begun.elapsed() < TIMEOUT {
        let read = stream.read(&mut part).ok()?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(part.get(..read)?);
    }
    String::from_utf8(answer).ok()
}

/// Whether there is such a process, stopped or not.
pub fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It lives.
    Runs,
    /// It lives and is stopped.
    Stopped,
    /// There is none; a zombie is none either.
    Gone,
}

/// What the kernel says of the process.
pub fn life(pid: u32) -> Life {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Life::Gone;
    };
    // The name may hold anything, also a bracket: what follows the last one is fixed.
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next());
    match state {
        None | Some('Z' | 'X') => Life::Gone,
        Some('T' | 't') => Life::Stopped,
        Some(_) => Life::Runs,
    }
}

/// Whether the process lives and is not stopped.
pub fn runs(pid: u32) -> bool {
    life(pid) == Life::Runs
}

/// Whether the file holds these bytes.
pub fn holds(file: &Path, bytes: &[u8]) -> bool {
    fs::read(file).is_ok_and(|found| found == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_answers_on_a_closed_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        assert!(!answers(port, 1));
    }

    #[test]
    fn a_stopped_process_does_not_run() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        assert!(runs(child.id()));
        child.kill().expect("kill");
        // Not reaped yet: a zombie counts as gone.
        let begun = Instant::now();
        while runs(child.id()) && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert!(!runs(child.id()));
        child.wait().expect("wait");
        assert!(!runs(child.id()));
    }

    #[test]
    fn a_file_with_other_bytes_does_not_hold_them() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("f");
        assert!(!holds(&file, b"a"));
        fs::write(&file, b"b").expect("write");
        assert!(!holds(&file, b"a"));
        assert!(holds(&file, b"b"));
    }
}
