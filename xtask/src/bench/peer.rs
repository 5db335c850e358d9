//! The peers, from Debian's packages, each started from a generated configuration that is
//! printed, in a temporary directory, and ended by pid with everything it started.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::{Guard, descendants, end};
use crate::command::{Scratch, succeed, which};

/// How long a peer may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer's process and directory. Ends with its scope, also when it never listened.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    dir: Scratch,
    pub listen: String,
    guard: Option<Guard>,
}

impl Peer {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells HAProxy on which ports its servers are now: Grace may restart an instance on another
    /// one, and the peer is not to lose by that.
    pub fn follow(&self, ports: &[u16]) -> Result<()> {
        for (at, port) in ports.iter().enumerate() {
            let mut stream = UnixStream::connect(self.dir.path().join("admin"))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(
                format!("set server out/s{at} addr 127.0.0.1 port {port}\n").as_bytes(),
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if !["", "changed", "no need"].iter().any(|good| match *good {
                "" => answer.trim().is_empty(),
                good => answer.contains(good),
            }) {
                bail!("HAProxy does not follow: {}", answer.trim());
            }
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let below = descendants(self.child.id());
        end(&mut self.child, Duration::from_secs(5));
        below.iter().for_each(|process| process.kill());
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

/// A program of a Debian package, which is installed when we are allowed to.
pub fn need(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = which(program) {
        return Ok(path);
    }
    let apt = |args: &[&str]| {
        succeed(
            Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null()),
        )
    };
    let install = ["install", "-y", "-qq", "--no-install-recommends", package];
    // A machine that never asked knows no packages.
    let tried = apt(&install).or_else(|_| apt(&["update", "-qq"]).and_then(|()| apt(&install)));
    which(program).with_context(|| match tried {
        Ok(()) => format!("{program} is missing, also after installing {package}"),
        Err(error) => format!(
            "{program} is missing and cannot be installed ({error}); get it by: apt-get install {package}"
        ),
    })
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts `program ARGS FILE`, where FILE is the configuration, and waits until it listens.
fn start(
    program: &Path,
    args: &[&str],
    dir: Scratch,
    (name, text): (&str, &str),
    port: u16,
    patience: Duration,
) -> Result<Peer> {
    let file = dir.path().join(name);
    std::fs::write(&file, text)?;
    eprintln!("--- {}\n{text}---", file.display());
    let child = Command::new(program)
        .args(args)
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    // From here on it is ended whatever happens.
    let mut peer = Peer {
        child,
        dir,
        listen: format!("127.0.0.1:{port}"),
        guard: None,
    };
    peer.guard = Some(Guard::new(&format!(
        "kill {pid}; sleep 1; kill -9 {pid} 2>/dev/null; rm -rf '{}'",
        peer.dir.path().display(),
        pid = peer.child.id(),
    ))?);
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(status) = peer.child.try_wait()? {
            bail!("{} ended at once ({status})", program.display());
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(peer);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!(
        "{} did not listen on {port} in {} s",
        program.display(),
        patience.as_secs()
    )
}

/// HAProxy in front of these ports. With `retries` it is tuned to lose nothing.
pub fn haproxy(ports: &[u16], threads: u32, retries: bool) -> Result<Peer> {
    haproxy_for(4096, ports, threads, retries)
}

/// The same for so many connections of clients.
pub fn haproxy_for(connections: u32, ports: &[u16], threads: u32, retries: bool) -> Result<Peer> {
    let program = need("haproxy", "haproxy")?;
    let port = free_port()?;
    let retry = if retries {
        "  retries 3\n  option redispatch 1\n  retry-on all-retryable-errors\n"
    } else {
        "  retries 0\n"
    };
    let servers: String = ports
        .iter()
        .enumerate()
        .map(|(at, port)| format!("  server s{at} 127.0.0.1:{port} check inter 500ms\n"))
        .collect();
    let dir = Scratch::new("haproxy")?;
    let admin = dir.path().join("admin").display().to_string();
    // It counts two open files for every connection, also for those that ask nothing; where so
    // many are not allowed it is to take what it gets.
    let text = format!(
        "global\n  nbthread {threads}\n  maxconn {connections}\n  no strict-limits\n  stats socket {admin} level admin\n\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 300s\n  timeout check 5s\n\
         \x20 timeout server 10s\n  http-reuse always\n{retry}\nfrontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\n\
         backend out\n  balance roundrobin\n  option httpchk GET /healthz\n{servers}"
    );
    let file = ("haproxy.cfg", text.as_str());
    start(&program, &["-db", "-f"], dir, file, port, PATIENCE)
}

/// nginx in front of these ports.
pub fn nginx(ports: &[u16], threads: u32) -> Result<Peer> {
    let program = need("nginx", "nginx")?;
    let dir = Scratch::new("nginx")?;
    let port = free_port()?;
    let servers: String = ports
        .iter()
        .map(|port| format!("    server 127.0.0.1:{port};\n"))
        .collect();
    let at = dir.path().display();
    let text = format!(
        "worker_processes {threads};\npid {at}/pid;\nerror_log /dev/null;\ndaemon off;\nevents {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         \x20 keepalive_requests 1000000;\n  upstream out {{\n{servers}    keepalive 256;\n    keepalive_requests 1000000;\n  }}\n\
         \x20 server {{\n    listen 127.0.0.1:{port};\n    location / {{ proxy_pass http://out; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n  }}\n}}\n"
    );
    let file = ("nginx.conf", text.as_str());
    start(&program, &["-c"], dir, file, port, PATIENCE)
}

/// supervisord running one sample worker on a port, restarting it whenever it dies.
pub fn supervisord(grace: &Path) -> Result<Peer> {
    let program = need("supervisord", "supervisor")?;
    let dir = Scratch::new("supervisord")?;
    let port = free_port()?;
    let at = dir.path().display();
    let text = format!(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={at}/pid\nchildlogdir={at}\n\n\
         [program:shop]\ncommand={} internal shop-worker --port {port}\nautorestart=true\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n",
        grace.display()
    );
    let file = ("supervisord.conf", text.as_str());
    start(&program, &["-c"], dir, file, port, PATIENCE)
}

#[cfg(test)]
mod tests;
