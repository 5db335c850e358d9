//! The data plane at its limit beside HAProxy and nginx, one thread each, in front of the same two
//! instances: nginx with ready-made answers, so that the proxies are what is measured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::fleet::Fleet;
use super::load::{Load, wrk};
use super::peer;
use super::rounds::{Turn, interleaved, median};
use super::row::{Figure, Spec, beside};
use crate::command::Scratch;

const fn rps(name: &'static str, peer: &'static str) -> Spec {
    beside(name, "requests/s", "higher", peer, Some(1.0))
}

/// In the order of [`LOADS`], beside HAProxy and beside nginx.
pub const ROWS: &[Spec] = &[
    rps("rps_small_haproxy", "haproxy"),
    rps("rps_small_512_haproxy", "haproxy"),
    rps("rps_100k_haproxy", "haproxy"),
    rps("rps_close_haproxy", "haproxy"),
    rps("rps_small_nginx", "nginx"),
    rps("rps_small_512_nginx", "nginx"),
    rps("rps_100k_nginx", "nginx"),
    rps("rps_close_nginx", "nginx"),
    beside("p99_small_haproxy", "us", "lower", "haproxy", Some(1.0)),
];

const ROUNDS: usize = 5;
/// Seconds of each turn.
const SECONDS: u64 = 3;
/// Requests a second for the latency row: about a tenth of what each can do.
const RATE: u32 = 3000;

struct Shape {
    connections: u32,
    path: &'static str,
    close: bool,
}

const LOADS: [Shape; 4] = [
    Shape {
        connections: 32,
        path: "/hello?id=1",
        close: false,
    },
    Shape {
        connections: 512,
        path: "/hello?id=1",
        close: false,
    },
    Shape {
        connections: 32,
        path: "/100k",
        close: false,
    },
    Shape {
        connections: 32,
        path: "/hello?id=1",
        close: true,
    },
];

/// An instance: `NGINX` of a configuration into which its port is filled.
const INSTANCE: &str = "daemon off;
worker_processes 1;
pid DATA/pid;
error_log /dev/null;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path DATA/b; proxy_temp_path DATA/p; fastcgi_temp_path DATA/f;
  uwsgi_temp_path DATA/u; scgi_temp_path DATA/s;
  keepalive_requests 100000000;
  default_type text/plain;
  sendfile on;
  tcp_nopush on;
  server {
    listen 127.0.0.1:PORT backlog=4096;
    location / { return 200 \"{\\\"id\\\":\\\"$arg_id\\\"}\"; }
    location = /100k { alias FILES/100k; }
  }
}
";

/// Two instances of nginx under Grace.
fn fleet(grace: &Path, nginx: &Path) -> Result<Fleet> {
    let dir = Scratch::new("traffic")?;
    let at = dir.path().display().to_string();
    std::fs::write(dir.path().join("100k"), vec![b'x'; 100 * 1024])?;
    let text = INSTANCE.replace("FILES", &at);
    eprintln!("--- an instance\n{text}---");
    std::fs::write(dir.path().join("instance.conf"), text)?;
    let script = format!(
        "sed -e s,PORT,{{port}}, -e s,DATA,{{data}},g {at}/instance.conf > {{data}}/nginx.conf && \
         exec {} -c {{data}}/nginx.conf",
        nginx.display()
    );
    let service = format!(
        "[[service]]\nname = \"shop\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n\
         listen = \"127.0.0.1:0\"\ninstances = 2\nready = {{ http = \"/healthz\" }}\n"
    );
    Fleet::of(grace, dir, 1, &service)
}

pub fn measure(grace: &Path) -> Result<Vec<Figure>> {
    let program = peer::need("wrk", "wrk")?;
    let nginx = peer::need("nginx", "nginx")?;
    let fleet = fleet(grace, &nginx)?;
    let ports = fleet.ports()?;
    let haproxy = peer::haproxy(&ports, 1, true)?;
    let nginx = peer::nginx(&ports, 1)?;
    let fronts = [&fleet.listen, &haproxy.listen, &nginx.listen];
    let program = &program;
    let mut turns: Vec<Turn<'_, f64>> = Vec::new();
    for load in &LOADS {
        for front in fronts {
            let url = format!("http://{front}{}", load.path);
            // Every contender is warm when it is measured.
            wrk(program, load.connections, 1, &url, load.close)?;
            turns.push(Box::new(move || {
                wrk(program, load.connections, SECONDS, &url, load.close)
            }));
        }
    }
    for listen in [&fleet.listen, &haproxy.listen] {
        turns.push(Box::new(move || {
            let load = Load {
                grace,
                listen,
                rate: RATE,
                time: Duration::from_secs(4),
            };
            load.run()?["p99_us"].as_f64().context("no p99")
        }));
    }
    let all = interleaved(ROUNDS, &mut turns)?;
    let middle: Vec<f64> = all.into_iter().map(|mut all| median(&mut all)).collect();
    let (rates, p99) = middle.split_at(LOADS.len() * fronts.len());
    let mut figures = Vec::new();
    for (at, rates) in rates.chunks(fronts.len()).enumerate() {
        figures.push(Figure::beside(&ROWS[at], rates[0], rates[1]));
        figures.push(Figure::beside(&ROWS[LOADS.len() + at], rates[0], rates[2]));
    }
    figures.push(Figure::beside(&ROWS[2 * LOADS.len()], p99[0], p99[1]));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_has_a_row_beside_each_peer_in_its_order() {
        let names = ["small", "small_512", "100k", "close"];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(ROWS[at].name, format!("rps_{name}_haproxy"));
            assert_eq!(ROWS[LOADS.len() + at].name, format!("rps_{name}_nginx"));
        }
        assert_eq!(ROWS.len(), 2 * LOADS.len() + 1);
    }
}
