//! A fleet under Grace, for measuring. It ends with its scope, and also when we are killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::peer::Peer;
use super::process::{Guard, bounded};
use crate::command::Scratch;

/// The longest that a command of Grace may take: a start of two hundred instances, a rollout.
const PATIENCE: Duration = Duration::from_secs(180);

/// Ends with its scope.
pub struct Fleet {
    grace: PathBuf,
    dir: Scratch,
    pub listen: String,
    guard: Option<Guard>,
}

impl Fleet {
    /// `instances` of the sample worker, each answer taking `delay_ms`, `threads` in the proxy.
    pub fn start(grace: &Path, instances: u32, delay_ms: u32, threads: u32) -> Result<Self> {
        let scratch = Scratch::new("fleet")?;
        std::fs::write(
            scratch.path().join("config.json"),
            format!("{{ \"greeting\": \"hello\", \"delay_ms\": {delay_ms} }}\n"),
        )?;
        let service = format!(
            "{}allow = [\"config.restore\"]\n[[service.config]]\npath = \"{{data}}/config.json\"\nseed = \"config.json\"\nformat = \"json\"\n",
            workers(grace, instances, "\"--config\", \"{data}/config.json\"")
        );
        Self::of(grace, scratch, threads, &service)
    }

    /// The one service of this TOML, whose files are in `dir`, `threads` in the proxy.
    pub fn of(grace: &Path, dir: Scratch, threads: u32, service: &str) -> Result<Self> {
        let mut fleet = Self {
            grace: grace.to_owned(),
            dir,
            listen: String::new(),
            guard: None,
        };
        fleet.write(threads, service)?;
        let dir = fleet.dir().display();
        fleet.guard = Some(Guard::new(&format!(
            "'{}' down --config '{dir}/grace.toml' >/dev/null 2>&1; rm -rf '{dir}'",
            grace.display()
        ))?);
        let ready = fleet.ask(&["up", "-d", "--json"])?;
        fleet.listen = ready["services"][0]["listen"]
            .as_str()
            .context("no address")?
            .to_owned();
        Ok(fleet)
    }

    /// Writes `grace.toml` anew; what runs is as it was.
    pub fn write(&self, threads: u32, service: &str) -> Result<()> {
        let state = self.dir().join("state").display().to_string();
        let text = format!("state = {state:?}\n[proxy]\nthreads = {threads}\n{service}");
        Ok(std::fs::write(self.dir().join("grace.toml"), text)?)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `grace ARGS` for this fleet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.grace);
        command
            .args(args)
            .arg("--config")
            .arg(self.dir().join("grace.toml"))
            .stdin(Stdio::null());
        command
    }

    /// Its JSON document; an error with its words when it ends badly.
    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let (status, stdout, stderr) = bounded(&mut self.command(args), PATIENCE)?;
        if !status.success() {
            bail!("grace {}: {}", args.join(" "), stderr.trim());
        }
        serde_json::from_str(&stdout).with_context(|| format!("grace {}: no JSON", args.join(" ")))
    }

    /// Id, pid and port of every instance, of the supervisor itself, since a command takes longer
    /// than what is measured. An instance that was killed may come back on another port.
    pub fn instances(&self) -> Result<Vec<(String, u32, u16)>> {
        let mut stream = UnixStream::connect(self.dir().join("state/run/supervisor.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"{\"type\":\"status\"}\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let value: Value = serde_json::from_str(&line).context("the supervisor's status")?;
        let all = value["instances"].as_array().context("no instances")?;
        all.iter()
            .map(|one| {
                let number = |key: &str| one[key].as_u64().with_context(|| format!("no {key}"));
                let id = one["id"].as_str().context("no id")?.to_owned();
                Ok((
                    id,
                    u32::try_from(number("pid")?)?,
                    u16::try_from(number("port")?)?,
                ))
            })
            .collect()
    }

    /// The port that an instance has now.
    pub fn port_of(&self, id: &str) -> Option<u16> {
        let all = self.instances().ok()?;
        all.into_iter().find(|it| it.0 == id).map(|it| it.2)
    }

    /// Waits until an instance has another process, at most so long, and tells a peer in front of
    /// the same instances where they are.
    pub fn replaced(
        &self,
        id: &str,
        old: u32,
        within: Duration,
        peer: Option<&Peer>,
    ) -> Result<()> {
        let begun = Instant::now();
        let is_new = |one: &(String, u32, u16)| one.0 == id && one.1 > 1 && one.1 != old;
        while !self.instances().is_ok_and(|all| all.iter().any(is_new)) {
            if begun.elapsed() > within {
                bail!(
                    "{id} (pid {old}) was not replaced in {} s",
                    within.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        match peer {
            Some(peer) => peer.follow(&self.ports()?),
            None => Ok(()),
        }
    }

    /// Ports of all instances.
    pub fn ports(&self) -> Result<Vec<u16>> {
        let all = self.instances()?;
        Ok(all.into_iter().map(|(_, _, port)| port).collect())
    }

    /// Name and pid of Grace's own processes that run.
    pub fn processes(&self) -> Result<Vec<(String, u32)>> {
        let status = self.ask(&["status", "--json"])?;
        let all = status["processes"].as_array().context("no processes")?;
        let named = all.iter().filter_map(|one| {
            let pid = u32::try_from(one["pid"].as_u64()?).ok()?;
            Some((one["name"].as_str()?.to_owned(), pid))
        });
        Ok(named.filter(|(_, pid)| *pid > 0).collect())
    }

    /// The pid of one of Grace's own processes.
    pub fn process(&self, name: &str) -> Result<u32> {
        let all = self.processes()?;
        let found = all.into_iter().find(|(it, _)| it == name);
        found
            .map(|(_, pid)| pid)
            .with_context(|| format!("no process {name}"))
    }
}

/// The TOML of a service of sample workers, with more arguments.
pub fn workers(grace: &Path, instances: u32, more: &str) -> String {
    let grace = grace.display().to_string();
    format!(
        "[[service]]\nname = \"shop\"\n\
         command = [{grace:?}, \"internal\", \"shop-worker\", \"--port\", \"{{port}}\", {more}]\n\
         listen = \"127.0.0.1:0\"\ninstances = {instances}\nready = {{ http = \"/healthz\" }}\n"
    )
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let mut down = self.command(&["down"]);
        if bounded(&mut down, PATIENCE).is_ok_and(|(status, ..)| status.success())
            && let Some(guard) = self.guard.take()
        {
            guard.dismiss();
        }
    }
}
