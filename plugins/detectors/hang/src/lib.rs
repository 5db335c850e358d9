//! Detector `hang`: an instance's process runs and does not do its work. It must not know how
//! it is woken; and it judges nobody by what a stalled judge saw.

#![cfg_attr(target_family = "wasm", no_std)]

mod instance;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use instance::Instance;

/// What is remembered of every instance.
#[derive(Default, Serialize, Deserialize)]
pub struct Hang {
    instances: Targets<Instance>,
    /// Evidence from before this time does not count.
    trusted_from: u64,
}

struct Settings {
    stopped_for_ms: u64,
    probe_failures: u64,
    unhealthy_for_ms: u64,
    judge_late_ms: u64,
    distrust_for_ms: u64,
    repeat_ms: u64,
}

impl Settings {
    fn read() -> Result<Self> {
        Ok(Self {
            stopped_for_ms: config::duration_ms("stopped_for", "300ms")?,
            probe_failures: config::number("probe_failures", 3)?.max(1),
            unhealthy_for_ms: config::duration_ms("unhealthy_for", "10s")?,
            judge_late_ms: config::duration_ms("judge_late", "200ms")?,
            distrust_for_ms: config::duration_ms("distrust_for", "500ms")?,
            repeat_ms: config::duration_ms("repeat", "2s")?,
        })
    }
}

impl Detector for Hang {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let settings = Settings::read()?;
        for seen in &batch.observations {
            self.take(&settings, seen);
        }
        let trusted_from = self.trusted_from;
        Ok(self
            .instances
            .iter_mut()
            .filter_map(|(target, instance)| {
                instance.judge(target, batch.now, trusted_from, &settings)
            })
            .collect())
    }
}

impl Hang {
    fn take(&mut self, settings: &Settings, seen: &Observation) {
        if seen.kind == "host.stalled" {
            self.trusted_from = self
                .trusted_from
                .max(seen.at.saturating_add(settings.distrust_for_ms));
            for (_, instance) in self.instances.iter_mut() {
                instance.distrust();
            }
            return;
        }
        let known = matches!(
            seen.kind.as_str(),
            "instance.spawned"
                | "instance.exited"
                | "instance.state"
                | "instance.process"
                | "instance.probe"
                | "instance.heartbeat"
                | "config.file"
        );
        if !known {
            return;
        }
        let trusted = seen.at >= self.trusted_from;
        let instance = self.instances.touch(&seen.target, seen.at);
        if let Some(service) = seen.text("service") {
            instance.service.clear();
            instance.service.push_str(service);
        }
        match seen.kind.as_str() {
            "instance.spawned" => instance.began(seen.count("generation"), seen.count("pid")),
            "instance.exited" => instance.ended(),
            "instance.state" => instance.became(seen.text("to").unwrap_or("")),
            "instance.process" => {
                instance.process(
                    seen.text("state").unwrap_or(""),
                    seen.at,
                    seen.count("for_ms"),
                );
            }
            "instance.probe"
                if trusted && seen.count("judge_late_ms") <= settings.judge_late_ms =>
            {
                instance.probed(seen);
            }
            "instance.heartbeat" if trusted => {
                instance.heartbeat(seen.at, seen.count("age_ms"), seen.count("limit_ms"));
            }
            "config.file" => {
                instance.config(
                    seen.text("path").unwrap_or(""),
                    seen.flag("valid") != Some(false),
                );
            }
            _ => {}
        }
    }
}

export_detector!(Hang);
