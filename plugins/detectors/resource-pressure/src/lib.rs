//! Detector `resource-pressure`: memory, processor or disk run short, before something dies of
//! it. It must not know what uses them.

#![cfg_attr(target_family = "wasm", no_std)]

mod growth;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use growth::Growth;

/// An alarm is lowered this far under its threshold.
const BAND_PERMILLE: u64 = 50;
/// And stays lowered for this long before it may be raised again.
const CALM_MS: u64 = 1_000;

/// What is remembered of every instance and of the host.
#[derive(Default, Serialize, Deserialize)]
pub struct ResourcePressure {
    instances: Targets<Instance>,
    cpu: Alarm,
    memory: Alarm,
    disk: Alarm,
}

#[derive(Default, Serialize, Deserialize)]
struct Instance {
    memory: Alarm,
    growing: Alarm,
    growth: Growth,
}

struct Threshold {
    permille: u64,
    for_ms: u64,
}

struct Settings {
    memory: Threshold,
    growth_permille: u64,
    growth_bytes: u64,
    growth_window_ms: u64,
    host_cpu: Threshold,
    host_memory: Threshold,
    host_disk: Threshold,
    repeat_ms: u64,
}

impl Settings {
    fn read() -> Result<Self> {
        let threshold = |permille: (&str, u64), for_ms: (&str, &str)| {
            Ok(Threshold {
                permille: config::number(permille.0, permille.1)?,
                for_ms: config::duration_ms(for_ms.0, for_ms.1)?,
            })
        };
        Ok(Self {
            memory: threshold(("memory_permille", 900), ("memory_for", "3s"))?,
            growth_permille: config::number("growth_permille", 500)?,
            growth_bytes: config::number("growth_mib", 64)?.saturating_mul(1 << 20),
            growth_window_ms: config::duration_ms("growth_window", "60s")?,
            host_cpu: threshold(("host_cpu_permille", 980), ("host_cpu_for", "60s"))?,
            host_memory: threshold(("host_memory_permille", 950), ("host_memory_for", "5s"))?,
            host_disk: threshold(("host_disk_permille", 950), ("host_disk_for", "2s"))?,
            repeat_ms: config::duration_ms("repeat", "10s")?,
        })
    }
}

impl Detector for ResourcePressure {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let settings = Settings::read()?;
        let mut findings = Vec::new();
        for seen in &batch.observations {
            match seen.kind.as_str() {
                "instance.resources" => self.instance(&settings, seen, &mut findings),
                "host.resources" => self.host(&settings, seen, &mut findings),
                "instance.spawned" | "instance.exited" => self.instances.remove(&seen.target),
                _ => {}
            }
        }
        Ok(findings)
    }
}

impl ResourcePressure {
    fn instance(&mut self, settings: &Settings, seen: &Observation, out: &mut Vec<Finding>) {
        let (rss, limit) = (seen.count("rss_bytes"), seen.count("memory_limit_bytes"));
        let instance = self.instances.touch(&seen.target, seen.at);
        if let Some(permille) = rss.saturating_mul(1_000).checked_div(limit) {
            sample(&mut instance.memory, &settings.memory, permille, seen.at);
            if instance.memory.due(seen.at, settings.repeat_ms) {
                out.push(
                    about(
                        seen,
                        Severity::Major,
                        "memory is near its limit",
                        format!(
                            "{} uses {} MiB of memory, {} % of its limit of {} MiB",
                            seen.target,
                            rss >> 20,
                            permille / 10,
                            limit >> 20
                        ),
                    )
                    .evidence("resource", "memory")
                    .evidence("permille", permille)
                    .evidence("rss_bytes", rss)
                    .evidence("memory_limit_bytes", limit),
                );
            }
        }
        instance
            .growth
            .sample(seen.at, rss, settings.growth_window_ms);
        match instance.growth.without_end(
            settings.growth_window_ms,
            settings.growth_permille,
            settings.growth_bytes,
        ) {
            Some(_) => instance.growing.over(seen.at, 0),
            None => instance.growing.clear(),
        }
        if instance.growing.due(seen.at, settings.repeat_ms)
            && let Some(begun) = instance.growth.first()
        {
            out.push(
                about(
                    seen,
                    Severity::Moderate,
                    "memory grows without end",
                    format!(
                        "{} grew from {} to {} MiB of memory in {} and still grows",
                        seen.target,
                        begun >> 20,
                        rss >> 20,
                        duration::words(settings.growth_window_ms)
                    ),
                )
                .confidence(700)
                .evidence("resource", "memory")
                .evidence("rss_bytes", rss)
                .evidence("rss_bytes_before", begun),
            );
        }
    }

    fn host(&mut self, settings: &Settings, seen: &Observation, out: &mut Vec<Finding>) {
        let repeat_ms = settings.repeat_ms;
        for (alarm, threshold, name, cause, severity) in [
            (
                &mut self.cpu,
                &settings.host_cpu,
                "cpu",
                "the host's processors are busy",
                Severity::Minor,
            ),
            (
                &mut self.memory,
                &settings.host_memory,
                "memory",
                "the host is short of memory",
                Severity::Major,
            ),
            (
                &mut self.disk,
                &settings.host_disk,
                "disk",
                "the disk of the state directory is nearly full",
                Severity::Major,
            ),
        ] {
            let Some(permille) = seen.integer(&format!("{name}_permille")) else {
                continue;
            };
            let permille = u64::try_from(permille).unwrap_or(0);
            sample(alarm, threshold, permille, seen.at);
            if alarm.due(seen.at, repeat_ms) {
                out.push(
                    about(
                        seen,
                        severity,
                        cause,
                        format!("{cause}: {}.{} %", permille / 10, permille % 10),
                    )
                    .evidence("resource", name)
                    .evidence("permille", permille),
                );
            }
        }
    }
}

fn sample(alarm: &mut Alarm, threshold: &Threshold, permille: u64, at: u64) {
    if permille >= threshold.permille {
        alarm.over(at, threshold.for_ms);
    } else if permille < threshold.permille.saturating_sub(BAND_PERMILLE) {
        alarm.under(at, CALM_MS);
    } else {
        alarm.between();
    }
}

fn about(seen: &Observation, severity: Severity, cause: &str, summary: String) -> Finding {
    finding("resource-pressure", &seen.target, severity, cause, summary)
        .evidence("service", seen.text("service").unwrap_or(""))
}

export_detector!(ResourcePressure);
