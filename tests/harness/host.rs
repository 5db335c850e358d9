//! A host of Grace in a directory of its own, driven by its command line.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Place, alive, eventually, eventually_some, pids_with_marker};

/// The binary under test.
pub fn grace() -> PathBuf {
    std::env::var_os("GRACE_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_grace")), PathBuf::from)
}

/// The command of the sample worker, as TOML.
pub fn worker(more: &str) -> String {
    let grace = grace();
    let base = format!(
        "[{:?}, \"internal\", \"shop-worker\", \"--port\", \"{{port}}\"",
        grace.display().to_string()
    );
    if more.is_empty() {
        format!("{base}]")
    } else {
        format!("{base}, {more}]")
    }
}

/// What a command did.
#[derive(Debug)]
#[must_use = "look at what the command did"]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Its one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim())
            .unwrap_or_else(|error| panic!("no single JSON document ({error}): {self:?}"))
    }

    /// That it ended with 0.
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// A directory with a `grace.toml`, and whatever runs from it. Dropping it ends everything.
pub struct Host {
    dir: TempDir,
    // Given back after what runs has ended.
    _place: Place,
}

impl Host {
    /// With this `grace.toml`, to which `state` is added.
    pub fn new(toml: &str) -> Self {
        let place = Place::take();
        let dir = tempfile::Builder::new()
            .prefix("grace-t-")
            .tempdir()
            .expect("tempdir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let host = Self { dir, _place: place };
        host.write(toml);
        host
    }

    /// A service `shop` of the sample worker with this many instances.
    pub fn shop(instances: u32, more: &str) -> Self {
        Self::new(&Self::shop_toml(instances, more))
    }

    /// Its `grace.toml`. Every instance has a configuration file of its own, which may be put back
    /// without a question.
    pub fn shop_toml(instances: u32, more: &str) -> String {
        format!(
            "{more}\n[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\ninstances = {instances}\n\
             ready = {{ http = \"/healthz\" }}\nallow = [\"config.restore\"]\n\n[[service.config]]\npath = \"{{data}}/config.json\"\n\
             seed = \"config.json\"\nformat = \"json\"\n",
            worker("\"--config\", \"{data}/config.json\"")
        )
    }

    /// Replaces `grace.toml`.
    pub fn write(&self, toml: &str) {
        let state = self.state().display().to_string();
        fs::write(self.file(), format!("state = {state:?}\n{toml}")).expect("grace.toml");
        fs::write(
            self.dir.path().join("config.json"),
            "{\n  \"greeting\": \"hello\"\n}\n",
        )
        .expect("config.json");
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("grace.toml")
    }
    /// An instance's configuration file.
    pub fn config_of(&self, id: &str) -> PathBuf {
        self.state().join("data").join(id).join("config.json")
    }

    /// `grace ARGS --config FILE` with an empty environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(grace());
        command
            .args(args)
            .arg("--config")
            .arg(self.file())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to the end.
    pub fn run(&self, args: &[&str]) -> Run {
        let output = self.command(args).output().expect("grace starts");
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        self.run(&all).good().json()
    }

    /// Its JSON, or none while it cannot answer.
    pub fn try_json(&self, args: &[&str]) -> Option<Value> {
        let mut all = args.to_vec();
        all.push("--json");
        let run = self.run(&all);
        (run.code == 0).then(|| run.json())
    }

    /// `grace up -d`, and where the first service listens.
    pub fn up(&self) -> SocketAddr {
        let ready = self.json(&["up", "-d"]);
        assert_eq!(ready["event"], "ready", "{ready}");
        let listen = ready["services"][0]["listen"]
            .as_str()
            .unwrap_or("0.0.0.0:1");
        listen.parse().expect("an address")
    }

    pub fn instances(&self) -> Vec<Value> {
        self.json(&["instances"])["instances"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    pub fn instance(&self, id: &str) -> Value {
        self.instances()
            .into_iter()
            .find(|one| one["id"] == id)
            .unwrap_or_else(|| panic!("no {id}"))
    }

    pub fn pid(&self, id: &str) -> u32 {
        u32::try_from(self.instance(id)["pid"].as_u64().expect("pid")).expect("pid")
    }

    /// Waits until an instance is ready again with another process than `old`.
    pub fn new_process(&self, id: &str, old: u32) -> u32 {
        eventually_some(&format!("a new ready process of {id}"), || {
            let one = self.try_json(&["instances"])?["instances"]
                .as_array()?
                .iter()
                .find(|one| one["id"] == id)?
                .clone();
            let pid = u32::try_from(one["pid"].as_u64()?).ok()?;
            (pid > 0 && pid != old && one["state"] == "ready").then_some(pid)
        })
    }

    /// The pid of one of Grace's own processes.
    pub fn process(&self, name: &str) -> u32 {
        eventually_some(&format!("the {name} in `grace status`"), || {
            let status = self.try_json(&["status"])?;
            let one = status["processes"]
                .as_array()?
                .iter()
                .find(|one| one["name"] == name)?
                .clone();
            let pid = u32::try_from(one["pid"].as_u64()?).ok()?;
            (pid > 0 && alive(pid)).then_some(pid)
        })
    }

    /// All incidents.
    pub fn incidents(&self) -> Vec<Value> {
        let Some(list) = self.try_json(&["incidents", "list"]) else {
            return Vec::new();
        };
        list["incidents"].as_array().cloned().unwrap_or_default()
    }

    /// Waits for an incident about `target` in `state`.
    pub fn incident(&self, target: &str, state: &str) -> Value {
        eventually_some(
            &format!(
                "an incident of {target} that is {state}: {:?}",
                self.state()
            ),
            || {
                self.incidents()
                    .into_iter()
                    .rev()
                    .find(|one| one["target"] == target && one["state"] == state)
            },
        )
    }

    /// `grace down`, and that nothing is left.
    pub fn down(&self) {
        let _ = self.run(&["down"]).good();
        let marker = self.state().display().to_string();
        eventually("all processes of the host are gone", || {
            pids_with_marker(&marker).is_empty()
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.state().join("run").exists() {
            let _ = self.command(&["down"]).output();
        }
        // Whatever a broken `down` left: processes of this host only, by its directory's name.
        for pid in pids_with_marker(&self.state().display().to_string()) {
            let _ = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
        }
        remove_groups(&self.state().join("run/cgroups.json"));
        if std::thread::panicking() {
            let log = fs::read_to_string(self.state().join("logs/grace.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            for line in tail.iter().rev() {
                eprintln!("grace.log: {line}");
            }
        }
    }
}

/// Removes the control groups of a host that was killed and will not come back. Only empty ones
/// can be removed, so this waits for the last to die.
fn remove_groups(record: &Path) {
    let text = fs::read(record).unwrap_or_default();
    let tops: Vec<PathBuf> = serde_json::from_slice(&text).unwrap_or_default();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    for top in tops {
        while top.is_dir() && std::time::Instant::now() < end {
            for inside in fs::read_dir(&top).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(inside.path());
            }
            let _ = fs::remove_dir(&top);
        }
    }
}
