//! A fleet of the sample worker under Grace, for measuring.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Scratch;

/// Ends with its scope.
pub struct Fleet {
    grace: PathBuf,
    dir: Scratch,
    pub listen: String,
}

impl Fleet {
    /// `instances` of the sample worker, each answer taking `delay_ms`, `threads` in the proxy.
    pub fn start(grace: &Path, instances: u32, delay_ms: u32, threads: u32) -> Result<Self> {
        let scratch = Scratch::new("fleet")?;
        let dir = scratch.path().to_owned();
        std::fs::write(
            dir.join("config.json"),
            format!("{{ \"greeting\": \"hello\", \"delay_ms\": {delay_ms} }}\n"),
        )?;
        let worker = grace.display().to_string();
        let text = format!(
            "state = {:?}\n[proxy]\nthreads = {threads}\n[[service]]\nname = \"shop\"\n\
             command = [{worker:?}, \"internal\", \"shop-worker\", \"--port\", \"{{port}}\", \"--config\", \"{{data}}/config.json\"]\n\
             listen = \"127.0.0.1:0\"\ninstances = {instances}\nready = {{ http = \"/healthz\" }}\n\
             [[service.config]]\npath = \"{{data}}/config.json\"\nseed = \"config.json\"\nformat = \"json\"\n",
            dir.join("state").display().to_string()
        );
        std::fs::write(dir.join("grace.toml"), text)?;
        let mut fleet = Self {
            grace: grace.to_owned(),
            dir: scratch,
            listen: String::new(),
        };
        let ready = fleet.ask(&["up", "-d", "--json"])?;
        fleet.listen = ready["services"][0]["listen"]
            .as_str()
            .context("no address")?
            .to_owned();
        Ok(fleet)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let output = Command::new(&self.grace)
            .args(args)
            .arg("--config")
            .arg(self.dir().join("grace.toml"))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!(
                "grace {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("grace {}: no JSON", args.join(" ")))
    }

    /// Id, pid and port of every instance.
    pub fn instances(&self) -> Result<Vec<(String, u32, u16)>> {
        let value = self.ask(&["instances", "--json"])?;
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
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = Command::new(&self.grace)
            .arg("down")
            .arg("--config")
            .arg(self.dir().join("grace.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
    }
}
