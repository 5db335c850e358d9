//! The data plane beside HAProxy and nginx: the same instances behind each, one thread each, 32
//! connections, small answers.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::fleet::Fleet;
use super::peer;
use super::row::{Row, median};
use crate::command::output;

pub const ROWS: &[&str] = &["proxy_rps_haproxy", "proxy_rps_nginx", "proxy_p99_haproxy"];

const ROUNDS: usize = 5;
/// Requests a second for the latency rows: about a tenth of what each can do.
const RATE: u32 = 3000;

pub fn measure(grace: &Path) -> Result<Vec<Row>> {
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
    let (mut ours, mut hap, mut ngx, mut ours99, mut hap99) =
        (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(rps(&fleet.listen)?);
        hap.push(rps(&haproxy.listen)?);
        ngx.push(rps(&nginx.listen)?);
        ours99.push(p99(&fleet.listen)?);
        hap99.push(p99(&haproxy.listen)?);
    }
    let ours = median(&mut ours);
    let row = |name, peer, peer_name, goal| Row {
        name,
        unit: "requests/s",
        better: "higher",
        ours,
        peer: Some(peer),
        peer_name,
        goal,
        goal_on: "ratio",
    };
    Ok(vec![
        row(ROWS[0], median(&mut hap), "haproxy", Some(0.8)),
        row(ROWS[1], median(&mut ngx), "nginx", None),
        Row {
            name: ROWS[2],
            unit: "us",
            better: "lower",
            ours: median(&mut ours99),
            peer: Some(median(&mut hap99)),
            peer_name: "haproxy",
            goal: Some(1.25),
            goal_on: "ratio",
        },
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
