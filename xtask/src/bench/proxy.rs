//! The data plane beside HAProxy and nginx: the same instances behind each, one thread each, 32
//! connections, small answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::fleet::Fleet;
use super::load::{Load, wrk};
use super::peer;
use super::rounds::{Turn, interleaved, median};
use super::row::{Figure, Spec, beside};

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
    let program = peer::need("wrk", "wrk")?;
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let ports = fleet.ports()?;
    let haproxy = peer::haproxy(&ports, 1, true)?;
    let nginx = peer::nginx(&ports, 1)?;
    let rps = |listen: &str| {
        wrk(
            &program,
            32,
            3,
            &format!("http://{listen}/hello?id=1"),
            false,
        )
    };
    let p99 = |listen: &str| {
        let load = Load {
            grace,
            listen,
            rate: RATE,
            time: Duration::from_secs(4),
        };
        load.run()?["p99_us"].as_f64().context("no p99")
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
