//! Waiting until a copy is ready; if it never is, what it says is missing.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use grace_model::config::Ready;

use super::http;
use super::launch::Running;
use crate::job::Job;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Time that one look may take.
const ASK: Duration = Duration::from_millis(500);

/// Words by which programs say that something they need is not there.
const LACKS: [&str; 12] = [
    "connection refused",
    "econnrefused",
    "network is unreachable",
    "enetunreach",
    "no route to host",
    "could not connect",
    "cannot connect",
    "failed to connect",
    "name resolution",
    "enotfound",
    "eai_again",
    "failed to lookup address",
];

/// Waits; an error is why it is not ready, for a person.
pub(super) fn wait(job: &Job, running: &mut Running) -> Result<(), String> {
    let until = Instant::now() + Duration::from_millis(job.start_ms);
    loop {
        if let Some(cause) = running.ended() {
            // What it wrote last may still be on its way.
            std::thread::sleep(LOOK);
            let how = format!("the copy ended before it was ready ({})", cause.text());
            return Err(explained(&how, &running.output()));
        }
        let ready = match &job.service.ready {
            Ready::Http(path) => {
                matches!(http::get(running.port, path, ASK), Some(200..=399))
            }
            Ready::Tcp => {
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, running.port));
                TcpStream::connect_timeout(&addr, ASK).is_ok()
            }
            Ready::Process | Ready::Notify => true,
        };
        if ready {
            return Ok(());
        }
        if Instant::now() >= until {
            let how = format!("the copy was not ready after {} ms", job.start_ms);
            return Err(explained(&how, &running.output()));
        }
        std::thread::sleep(LOOK);
    }
}

/// With what it says itself.
fn explained(how: &str, output: &str) -> String {
    let lacks = |line: &&str| {
        let line = line.to_lowercase();
        LACKS.iter().any(|word| line.contains(word))
    };
    if let Some(line) = output.lines().rev().find(lacks) {
        return format!("dependency missing: {} ({how})", line.trim());
    }
    match output.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}; its last words: {}", line.trim()),
        None => format!("{how}, and it wrote nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_dependency_is_named_by_what_the_program_says_last_about_it() {
        let output = "starting\nError: connect ECONNREFUSED 10.0.0.5:5432\n    at TCPConnectWrap\n";
        let why = explained("the copy ended", output);
        let wanted = "dependency missing: Error: connect ECONNREFUSED 10.0.0.5:5432";
        assert!(why.starts_with(wanted), "{why}");
        let other = explained("the copy ended", "starting\nbad flag\n\n");
        assert_eq!(other, "the copy ended; its last words: bad flag");
        assert!(explained("the copy ended", "").contains("wrote nothing"));
    }
}
