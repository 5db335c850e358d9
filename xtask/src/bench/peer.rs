//! The peers, from Debian's packages, each started from a generated configuration that is
//! printed, in a temporary directory, and ended by pid.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::fleet::scratch;
use crate::command::{succeed, which};

/// A running peer. Ends with its scope.
pub struct Peer {
    child: Child,
    dir: PathBuf,
    pub listen: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A program of a Debian package, which is installed when we are allowed to.
pub fn need(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = which(program) {
        return Ok(path);
    }
    let tried = succeed(Command::new("apt-get").args([
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        package,
    ]));
    which(program).with_context(|| match tried {
        Ok(()) => format!("{program} is missing, also after installing {package}"),
        Err(error) => format!("{program} is missing and cannot be installed ({error}); get it by: apt-get install {package}"),
    })
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn print(what: &str, text: &str) {
    eprintln!("--- {what}\n{text}---");
}

fn started(mut child: Child, dir: PathBuf, port: u16, what: &str) -> Result<Peer> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if let Some(status) = child.try_wait()? {
            bail!("{what} ended at once ({status})");
        }
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(Peer {
                child,
                dir,
                listen: format!("127.0.0.1:{port}"),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    bail!("{what} did not listen on {port} in 10 s")
}

/// HAProxy in front of these ports. With `retries` it is tuned to lose nothing.
pub fn haproxy(ports: &[u16], threads: u32, retries: bool) -> Result<Peer> {
    let program = need("haproxy", "haproxy")?;
    let dir = scratch("haproxy")?;
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
    let text = format!(
        "global\n  nbthread {threads}\n  maxconn 4096\n\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 30s\n\
         \x20 timeout server 10s\n  http-reuse always\n{retry}\nfrontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\n\
         backend out\n  balance roundrobin\n  option httpchk GET /healthz\n{servers}"
    );
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, &text)?;
    print("haproxy.cfg", &text);
    let child = Command::new(program)
        .arg("-db")
        .arg("-f")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    started(child, dir, port, "haproxy")
}

/// nginx in front of these ports.
pub fn nginx(ports: &[u16], threads: u32) -> Result<Peer> {
    let program = need("nginx", "nginx")?;
    let dir = scratch("nginx")?;
    let port = free_port()?;
    let servers: String = ports
        .iter()
        .map(|port| format!("    server 127.0.0.1:{port};\n"))
        .collect();
    let at = dir.display();
    let text = format!(
        "worker_processes {threads};\npid {at}/pid;\nerror_log /dev/null;\ndaemon off;\nevents {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         \x20 keepalive_requests 1000000;\n  upstream out {{\n{servers}    keepalive 256;\n    keepalive_requests 1000000;\n  }}\n\
         \x20 server {{\n    listen 127.0.0.1:{port};\n    location / {{ proxy_pass http://out; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n  }}\n}}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, &text)?;
    print("nginx.conf", &text);
    let child = Command::new(program)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    started(child, dir, port, "nginx")
}

/// supervisord running one sample worker on a port, restarting it whenever it dies.
pub fn supervisord(grace: &Path) -> Result<Peer> {
    let program = need("supervisord", "supervisor")?;
    let dir = scratch("supervisord")?;
    let port = free_port()?;
    let at = dir.display();
    let text = format!(
        "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={at}/pid\nchildlogdir={at}\n\n\
         [program:shop]\ncommand={} internal shop-worker --port {port}\nautorestart=true\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n",
        grace.display()
    );
    let file = dir.join("supervisord.conf");
    std::fs::write(&file, &text)?;
    print("supervisord.conf", &text);
    let child = Command::new(program)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    started(child, dir, port, "supervisord")
}
