//! How soon a killed supervisor is followed by another that answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fleet::Fleet;
use super::kill::kill;
use super::rounds::median;
use super::row::{Figure, Spec, at_most};

pub const ROWS: &[Spec] = &[at_most("supervisor_back_ms", "ms", "", 100.0)];

const ROUNDS: usize = 7;

/// The pid that a living supervisor says it has.
fn supervisor(socket: &Path) -> Option<u32> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"{\"type\":\"status\"}\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let status: Value = serde_json::from_str(&line).ok()?;
    let processes = status["processes"].as_array()?;
    let own = processes.iter().find(|it| it["name"] == "supervisor")?;
    u32::try_from(own["pid"].as_u64()?).ok()
}

pub fn measure(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 6, 0, 1)?;
    let socket = fleet.dir().join("state/run/supervisor.sock");
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        // One that dies right after its start makes the next one wait, and is not meant here.
        std::thread::sleep(Duration::from_millis(1_200));
        let old = supervisor(&socket).context("no supervisor answers")?;
        let begun = Instant::now();
        kill("KILL", old)?;
        while supervisor(&socket).is_none_or(|pid| pid == old) {
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("no supervisor 10 s after the death of {old}");
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        figures.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    let middle = median(&mut figures);
    Ok(vec![Figure::alone(&ROWS[0], middle)])
}
