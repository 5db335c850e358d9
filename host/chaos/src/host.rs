//! The host as its command line and its state directory tell it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use grace_model::config::{Config, Ready, Service};
use grace_model::layout::Layout;
use serde_json::Value;

use crate::Options;

/// A host that runs.
pub(crate) struct Host {
    grace: PathBuf,
    state: PathBuf,
    pub(crate) layout: Layout,
}

/// An instance as Grace names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) role: String,
    pub(crate) state: String,
}

impl Host {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            grace: options.grace.clone(),
            state: options.state.clone(),
            layout: Layout::new(&options.state),
        }
    }

    /// Runs `grace ARGS --json` for it.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Value> {
        let output = Command::new(&self.grace)
            .args(args)
            .args(["--json", "--state"])
            .arg(&self.state)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.grace.display()))?;
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

    pub(crate) fn instances(&self) -> Result<Vec<Instance>> {
        let value = self.ask(&["instances"])?;
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = value["instances"].as_array().cloned().unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| Instance {
                id: word(row, "id"),
                service: word(row, "service"),
                pid: number(&row["pid"]),
                port: u16::try_from(number(&row["port"])).unwrap_or(0),
                role: word(row, "role"),
                state: word(row, "state"),
            })
            .collect())
    }

    pub(crate) fn instance(&self, id: &str) -> Result<Instance> {
        let all = self.instances()?;
        let names: Vec<String> = all.iter().map(|one| one.id.clone()).collect();
        all.into_iter().find(|one| one.id == id).with_context(|| {
            format!(
                "there is no instance {id:?}; there are: {}",
                names.join(", ")
            )
        })
    }

    /// The process of a part of Grace; 0 while it is away.
    pub(crate) fn part(&self, name: &str) -> u32 {
        let Ok(status) = self.ask(&["status"]) else {
            return 0;
        };
        let mut parts = status["processes"].as_array().into_iter().flatten();
        parts
            .find(|one| one["name"] == name)
            .map_or(0, |one| number(&one["pid"]))
    }

    /// Incidents, oldest first; none while the healer is away.
    pub(crate) fn incidents(&self) -> Option<Vec<Value>> {
        let list = self.ask(&["incidents", "list"]).ok()?;
        list["incidents"].as_array().cloned()
    }

    /// A service as it was declared and resolved.
    pub(crate) fn service(&self, name: &str) -> Result<Service> {
        let file = self.layout.config();
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let config: Config = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not understood", file.display()))?;
        let found = config
            .services
            .into_iter()
            .find(|one| one.name.as_str() == name);
        found.with_context(|| format!("there is no service {name:?}"))
    }

    /// All services, and where each is reached.
    pub(crate) fn front(&self, service: &str) -> Option<SocketAddr> {
        let value = self.ask(&["services"]).ok()?;
        let rows = value["services"].as_array()?;
        let row = rows.iter().find(|one| one["name"] == service)?;
        row["listen"].as_str()?.parse().ok()
    }

    /// Declared configuration files of an instance.
    pub(crate) fn files(&self, service: &Service, id: &str) -> Vec<PathBuf> {
        let data = self.state.join("data").join(id).display().to_string();
        let files = service.config.iter();
        files
            .map(|file| PathBuf::from(file.path.replace("{data}", &data)))
            .collect()
    }
}

/// What readiness is probed by.
pub(crate) fn probe_path(service: &Service) -> Option<String> {
    match &service.ready {
        Ready::Http(path) => Some(path.clone()),
        _ => None,
    }
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}
