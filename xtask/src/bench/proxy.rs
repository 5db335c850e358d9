//! The data plane beside HAProxy and nginx: the same instances behind each, one thread each, 32
//! connections, small answers.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::fleet::Fleet;
use super::peer;
use super::rounds::{Turn, interleaved, median};
use super::row::{Figure, Spec, beside};
use crate::command::output;

pub const ROWS: &[Spec] = &[
    beside(
        "proxy_rps_haproxy",
        "requests/s",
        "higher",
        "haproxy",
        Some(0.8),
    ),
    beside("proxy_rps_nginx", "requests/s", "higher", "nginx", None),
    beside("proxy_p99_haproxy", "us", "lower", "haproxy", Some(1.25)),
];

const ROUNDS: usize = 5;
/// Requests a second for the latency rows: about a tenth of what each can do.
const RATE: u32 = 3000;

pub fn measure(grace: &Path) -> Result<Vec<Figure>> {
    let wrk = peer::need("wrk", "wrk")?;
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let ports: Vec<u16> = fleet
        .instances()?
        .into_iter()
        .map(|(_, _, port)| port)
        .collect();
    let haproxy = peer::haproxy(&ports, 1, true)?;
    let nginx = peer::nginx(&ports, 1)?;
    let rps = |listen: &str| -> Result<f64> {
        let text = output(Command::new(&wrk).args([
            "-t1",
            "-c32",
            "-d3s",
            &format!("http://{listen}/hello?id=1"),
        ]))?;
        if text.contains("Non-2xx") {
            anyhow::bail!("wrk saw failures: {text}");
        }
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
            .context("wrk prints no rate")?;
        Ok(line.trim().parse()?)
    };
    let p99 = |listen: &str| {
        open_load(grace, listen, RATE, "4s")
            .and_then(|report| report["p99_us"].as_f64().context("no p99"))
    };
    // Warm-up of all three.
    for listen in [&fleet.listen, &haproxy.listen, &nginx.listen] {
        rps(listen)?;
    }
    let (rps, p99) = (&rps, &p99);
    let figures = interleaved(
        ROUNDS,
        &mut [
            Box::new(|| rps(&fleet.listen)) as Turn<'_, f64>,
            Box::new(|| rps(&haproxy.listen)),
            Box::new(|| rps(&nginx.listen)),
            Box::new(|| p99(&fleet.listen)),
            Box::new(|| p99(&haproxy.listen)),
        ],
    )?;
    let middle: Vec<f64> = figures
        .into_iter()
        .map(|mut all| median(&mut all))
        .collect();
    Ok(vec![
        Figure::beside(&ROWS[0], middle[0], middle[1]),
        Figure::beside(&ROWS[1], middle[0], middle[2]),
        Figure::beside(&ROWS[2], middle[3], middle[4]),
    ])
}

/// The open-loop load for a time, and its report.
pub fn open_load(grace: &Path, listen: &str, rate: u32, time: &str) -> Result<Value> {
    let mut command = Command::new(grace);
    command
        .args([
            "internal",
            "open-load",
            "--url",
            &format!("http://{listen}/hello"),
            "--rate",
            &rate.to_string(),
            "--for",
            time,
            "--timeout",
            "20s",
        ])
        .stderr(Stdio::inherit());
    let done = command.stdin(Stdio::null()).output()?;
    // 1 says that requests failed, which is what some rows count.
    if !matches!(done.status.code(), Some(0 | 1)) {
        anyhow::bail!("the load could not run: {}", done.status);
    }
    let text = String::from_utf8_lossy(&done.stdout);
    let last = text
        .lines()
        .rfind(|line| line.starts_with('{'))
        .context("the load printed nothing")?;
    Ok(serde_json::from_str(last)?)
}
