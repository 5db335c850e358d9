//! Detector `config-drift`: a declared configuration file broke (`config-corrupt`), changed
//! and requests fail since (`config-drift`), or changed and all is well (`config-accepted`).
//! It must not know formats; that a file does not parse is what the host saw.

#![cfg_attr(target_family = "wasm", no_std)]

mod file;
mod health;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use file::File;
use health::Health;

/// Declared files remembered of an instance.
const MAX_FILES: usize = 16;
/// Declared files remembered of all instances: about half a kilobyte each, and a detector may
/// remember 1 MiB.
const MAX_ALL_FILES: usize = 1_024;

/// What is remembered of every instance.
#[derive(Default, Serialize, Deserialize)]
pub struct ConfigDrift {
    instances: Targets<Instance>,
}

#[derive(Default, Serialize, Deserialize)]
struct Instance {
    service: String,
    files: Vec<File>,
    health: Health,
}

struct Settings {
    window_ms: u64,
    min_errors: u64,
    error_permille: u64,
    accept_after_ms: u64,
    repeat_ms: u64,
}

impl Settings {
    fn read() -> Result<Self> {
        Ok(Self {
            window_ms: config::duration_ms("window", "5s")?,
            min_errors: config::number("min_errors", 5)?.max(1),
            error_permille: config::number("error_permille", 50)?,
            accept_after_ms: config::duration_ms("accept_after", "10s")?,
            repeat_ms: config::duration_ms("repeat", "2s")?,
        })
    }
}

impl Detector for ConfigDrift {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let settings = Settings::read()?;
        for seen in &batch.observations {
            self.take(&settings, seen);
        }
        let mut findings = Vec::new();
        for (target, instance) in self.instances.iter_mut() {
            for file in &mut instance.files {
                findings.extend(file.judge(
                    target,
                    &instance.service,
                    &instance.health,
                    batch.now,
                    &settings,
                ));
            }
        }
        Ok(findings)
    }
}

impl ConfigDrift {
    fn files(&self) -> usize {
        self.instances
            .iter()
            .map(|(_, instance)| instance.files.len())
            .sum()
    }

    fn take(&mut self, settings: &Settings, seen: &Observation) {
        let file = seen.kind == "config.file";
        // Only instances with declared files are of interest.
        if !file && self.instances.get(&seen.target).is_none() {
            return;
        }
        let room = !file || self.files() < MAX_ALL_FILES;
        let instance = self.instances.touch(&seen.target, seen.at);
        match seen.kind.as_str() {
            "config.file" => {
                if let Some(service) = seen.text("service") {
                    service.clone_into(&mut instance.service);
                }
                let path = seen.text("path").unwrap_or("");
                if let Some(file) = instance.files.iter_mut().find(|file| file.path == path) {
                    file.seen(seen);
                } else if instance.files.len() < MAX_FILES && room {
                    instance.files.push(File::first(path, seen));
                }
            }
            "instance.traffic" => {
                let failures = seen.count("errors") + seen.count("unanswered");
                let horizon = settings.window_ms.max(settings.accept_after_ms);
                instance
                    .health
                    .traffic(seen.at, seen.count("requests"), failures, horizon);
            }
            "instance.probe" if seen.flag("ok") == Some(false) => instance.health.ill(seen.at),
            "instance.exited" if seen.flag("wanted") != Some(true) => instance.health.ill(seen.at),
            _ => {}
        }
    }
}

export_detector!(ConfigDrift);
