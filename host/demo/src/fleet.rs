//! The fleet of the demo, started and asked through the `grace` command line.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use crate::Options;

/// An instance as `grace instances --json` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `shop-1`.
    pub id: String,
    /// 0 when no process runs.
    pub pid: u32,
    /// Its own port.
    pub port: u16,
    /// `ready`, ...
    #[serde(skip_serializing)]
    pub state: String,
    /// Rises with every process.
    #[serde(skip_serializing)]
    pub generation: u64,
}

/// An incident as `grace incidents list --json` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Incident {
    /// `inc-1`.
    pub id: String,
    /// The instance.
    pub target: String,
    /// `healing`, ...
    pub state: String,
    /// The playbook that runs or ran.
    pub playbook: Option<String>,
    /// Milliseconds since the epoch.
    pub opened_at: u64,
}

/// A ledger entry as `grace incidents show --json` tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    /// Rises with every entry of the ledger.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// `step-started`, ...
    pub kind: String,
    /// The rest.
    pub body: Value,
}

/// A running fleet in a temporary directory.
pub struct Fleet {
    grace: PathBuf,
    dir: TempDir,
    listen: String,
}

/// What every instance's configuration is at first.
pub const CONFIG: &str = "{\n  \"greeting\": \"hello\",\n  \"delay_ms\": 10\n}\n";

impl Fleet {
    /// Writes a `grace.toml` and starts it.
    pub fn start(options: &Options, instances: usize) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("grace-demo-")
            .tempdir()
            .context(
                "there is no directory for its files; set TMPDIR to one that can be written",
            )?;
        // Instances run as an unprivileged user when we are root, and must reach their data.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(dir.path().join("config.json"), CONFIG)?;
        let worker = options.grace.display().to_string();
        let command = serde_json::json!([
            worker,
            "internal",
            "shop-worker",
            "--port",
            "{port}",
            "--config",
            "{data}/config.json"
        ]);
        let text = format!(
            "state = {state:?}\n\n[healing]\nplaybooks = {heal}\n\n[proxy]\nretry = {retry}\n\n\
             [[service]]\nname = \"shop\"\ncommand = {command}\nlisten = \"127.0.0.1:0\"\n\
             instances = {instances}\nready = {{ http = \"/healthz\" }}\nrestart = {{ reflex = {heal} }}\n\
             # Asked about first by default; here its operator grants it beforehand.\n\
             allow = [\"config.restore\"]\n\n\
             [[service.config]]\npath = \"{{data}}/config.json\"\nseed = \"config.json\"\nformat = \"json\"\n",
            state = dir.path().join("state").display().to_string(),
            heal = !options.no_heal,
            retry = !options.no_retry,
        );
        let file = dir.path().join("grace.toml");
        fs::write(&file, text)?;
        let mut fleet = Self {
            grace: options.grace.clone(),
            dir,
            listen: String::new(),
        };
        let ready = fleet.ask(&["up", "-d", "--json"])?;
        let listen = ready["services"][0]["listen"].as_str();
        fleet.listen = listen.context("`grace up` names no address")?.to_owned();
        Ok(fleet)
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("http://{}/hello", self.listen)
    }

    /// All instances.
    pub fn instances(&self) -> Result<Vec<Instance>> {
        let value = self.ask(&["instances", "--json"])?;
        Ok(serde_json::from_value(value["instances"].clone())?)
    }

    /// One instance.
    pub fn instance(&self, id: &str) -> Result<Instance> {
        crate::fault::one_of(&self.instances()?, id)
    }

    /// All incidents. Empty while the healer is away.
    pub fn incidents(&self) -> Vec<Incident> {
        let Ok(value) = self.ask(&["incidents", "list", "--json"]) else {
            return Vec::new();
        };
        serde_json::from_value(value["incidents"].clone()).unwrap_or_default()
    }

    /// The ledger entries about an incident, oldest first. Empty while the healer is away.
    pub fn story(&self, incident: &str) -> Vec<Entry> {
        let Ok(value) = self.ask(&["incidents", "show", incident, "--json"]) else {
            return Vec::new();
        };
        serde_json::from_value(value["entries"].clone()).unwrap_or_default()
    }

    /// The pid of one of Grace's own processes.
    pub fn process(&self, name: &str) -> Result<u32> {
        let status = self.ask(&["status", "--json"])?;
        let found = status["processes"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|process| process["name"] == name);
        let pid = found
            .and_then(|process| process["pid"].as_u64())
            .and_then(|pid| u32::try_from(pid).ok());
        pid.filter(|pid| *pid > 0)
            .with_context(|| format!("`grace status` names no {name}"))
    }

    /// An instance's configuration file.
    pub fn config_file(&self, id: &str) -> PathBuf {
        self.state().join("data").join(id).join("config.json")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("grace.toml")
    }

    /// Runs `grace ARGS` for this fleet and reads its JSON.
    fn ask(&self, args: &[&str]) -> Result<Value> {
        let output = Command::new(&self.grace)
            .args(args)
            .arg("--config")
            .arg(self.file())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.grace.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`grace {}` ended with {}: {}",
                args.join(" "),
                output.status,
                said.trim()
            );
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text
            .lines()
            .find(|line| line.starts_with('{'))
            .map_or(text.as_ref(), |line| {
                if text.trim_start().starts_with("{\n") {
                    text.as_ref()
                } else {
                    line
                }
            });
        serde_json::from_str(line)
            .with_context(|| format!("`grace {}` printed no JSON", args.join(" ")))
    }

    /// Ends the fleet.
    pub fn stop(self) -> Result<()> {
        self.down()
    }

    fn down(&self) -> Result<()> {
        let status = Command::new(&self.grace)
            .arg("down")
            .arg("--config")
            .arg(self.file())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("`grace down` ended with {status}");
        }
        Ok(())
    }

    /// Leaves the fleet up and says how to play with it.
    pub fn keep(self) {
        let grace = self.grace.display().to_string();
        let file = self.file().display().to_string();
        let pids = self.instances().unwrap_or_default();
        let pid = |at: usize| pids.get(at).map_or(0, |instance| instance.pid);
        let id = pids
            .get(2)
            .map_or("shop-3", |instance| instance.id.as_str());
        eprintln!("\nThe fleet stays up at http://{}. Break it:", self.listen);
        eprintln!("  kill -9 {}", pid(0));
        eprintln!("  kill -STOP {}", pid(1));
        eprintln!("  echo broken > {}", self.config_file(id).display());
        eprintln!("Watch it:");
        eprintln!("  {grace} incidents watch --config {file}");
        eprintln!("End it:");
        eprintln!("  {grace} down --config {file}");
        let this = std::mem::ManuallyDrop::new(self);
        debug_assert!(Path::new(&this.file()).exists());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Also after an error: a fleet left behind would break the next run.
        if self.state().join("run").exists() {
            let _ = self.down();
        }
    }
}
