//! A host of its own in a temporary directory, driven by the command line, ended with its scope.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use grace_demo::judge;
use serde_json::Value;
use tempfile::TempDir;

use crate::Stage;

/// What every instance's configuration is at first.
pub const CONFIG: &str = "{\n  \"greeting\": \"hello\"\n}\n";

/// An instance as Grace names it. What it says is looked at from outside before it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `shop-1`.
    pub id: String,
    /// 0 when no process runs.
    pub pid: u32,
    /// Its own port.
    pub port: u16,
    /// `active`, `hot`, `warm`.
    pub role: String,
    /// `ready`, ...
    pub state: String,
}

/// A running host.
pub struct Fleet {
    grace: PathBuf,
    dir: TempDir,
    front: Option<SocketAddr>,
}

/// A directory that services of an unprivileged user can reach.
pub fn room() -> Result<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix("grace-prove-")
        .tempdir()
        .context("there is no directory for files; set TMPDIR to one that can be written")?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    fs::write(dir.path().join("config.json"), CONFIG)?;
    Ok(dir)
}

/// The command of the sample service, as TOML.
pub fn worker(grace: &Path, more: &[&str]) -> String {
    let grace = grace.display().to_string();
    let words = [&grace, "internal", "shop-worker", "--port", "{port}"];
    let all: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();
    Value::from(all).to_string()
}

/// A service `shop` of the sample service: `count` says how many (`instances = 3`, or roles),
/// `keys` is what else its table has. Each instance has a declared configuration file, which
/// may be put back without a question.
pub fn shop(stage: &Stage, count: &str, reflex: bool, keys: &str) -> String {
    format!(
        "[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\n{count}\n\
         ready = {{ http = \"/healthz\" }}\nrestart = {{ reflex = {reflex} }}\nallow = [\"config.restore\"]\n{keys}\n\
         [[service.config]]\npath = \"{{data}}/config.json\"\nseed = \"config.json\"\nformat = \"json\"\n",
        worker(&stage.grace, &["--config", "{data}/config.json"])
    )
}

impl Fleet {
    /// Starts a host with this `grace.toml`, to which `state` is added.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(stage: &Stage, toml: &str) -> Result<Self> {
        Self::start_in(stage, room()?, toml)
    }

    /// The same in a directory that was made before.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_in(stage: &Stage, dir: TempDir, toml: &str) -> Result<Self> {
        let state = dir.path().join("state").display().to_string();
        fs::write(
            dir.path().join("grace.toml"),
            format!("state = {state:?}\n{toml}"),
        )?;
        let mut fleet = Self {
            grace: stage.grace.clone(),
            dir,
            front: None,
        };
        let ready = fleet.ask(&["up", "-d"])?;
        let listen = ready["services"][0]["listen"].as_str();
        fleet.front = listen.and_then(|text| text.parse().ok());
        Ok(fleet)
    }

    /// Where clients of the first service connect.
    ///
    /// # Errors
    /// When it has no address.
    pub fn front(&self) -> Result<SocketAddr> {
        self.front.context("`grace up` names no address")
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory of an instance.
    pub fn data(&self, id: &str) -> PathBuf {
        self.dir.path().join("state/data").join(id)
    }

    /// All instances, or an error while Grace cannot answer.
    ///
    /// # Errors
    /// When Grace does not answer.
    pub fn instances(&self) -> Result<Vec<Instance>> {
        let value = self.ask(&["instances"])?;
        let rows = value["instances"].as_array().cloned().unwrap_or_default();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        Ok(rows
            .iter()
            .map(|row| Instance {
                id: word(row, "id"),
                pid: number(&row["pid"]),
                port: u16::try_from(number(&row["port"])).unwrap_or(0),
                role: word(row, "role"),
                state: word(row, "state"),
            })
            .collect())
    }

    /// One instance.
    ///
    /// # Errors
    /// When there is no such one.
    pub fn instance(&self, id: &str) -> Result<Instance> {
        let found = self.instances()?.into_iter().find(|one| one.id == id);
        found.with_context(|| format!("there is no {id}"))
    }

    /// The process of one of Grace's own parts that lives, none while it is away.
    pub fn part(&self, name: &str) -> Option<u32> {
        let status = self.ask(&["status"]).ok()?;
        let parts = status["processes"].as_array()?;
        let part = parts.iter().find(|one| one["name"] == name)?;
        Some(number(&part["pid"])).filter(|pid| *pid > 0 && judge::exists(*pid))
    }

    /// All incidents; none while the healer is away.
    pub fn incidents(&self) -> Vec<Value> {
        let list = self.ask(&["incidents", "list"]);
        list.ok()
            .and_then(|list| list["incidents"].as_array().cloned())
            .unwrap_or_default()
    }

    /// Runs `grace ARGS --json` for this host and reads the document.
    ///
    /// # Errors
    /// When it does not end with 0, or prints no JSON.
    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let output = self.run(args)?;
        if !output.status.success() {
            bail!(
                "`grace {}` ended with {}: {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`grace {}` printed no JSON document", args.join(" ")))
    }

    /// Runs `grace ARGS --json` for this host.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        Command::new(&self.grace)
            .args(args)
            .args(["--json", "--config"])
            .arg(self.dir.path().join("grace.toml"))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.grace.display()))
    }
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Also after an error: a host left behind would be there for ever.
        if self.dir.path().join("state/run").exists() {
            let _ = self.ask(&["down"]);
        }
    }
}
