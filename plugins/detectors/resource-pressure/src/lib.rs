//! Detector `resource-pressure`: memory, open files, threads, processor or disk run short, before
//! something dies of it. It must not know what uses them.

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
#[serde(default)]
struct Instance {
    memory: Alarm,
    files: Alarm,
    threads: Alarm,
    growing: Alarm,
    growth: Growth,
}

/// Something of which an instance may have only so much.
struct Share<'s> {
    alarm: &'s mut Alarm,
    threshold: &'s Threshold,
    /// As evidence names it.
    resource: &'static str,
    cause: &'static str,
    /// The fields it was read from.
    used: (&'static str, u64),
    limit: (&'static str, u64),
    words: fn(u64) -> String,
}

struct Threshold {
    permille: u64,
    for_ms: u64,
}

struct Settings {
    memory: Threshold,
    files: Threshold,
    threads: Threshold,
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
            files: threshold(("files_permille", 900), ("files_for", "3s"))?,
            threads: threshold(("threads_permille", 900), ("threads_for", "3s"))?,
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
        let used = seen.count("memory_bytes");
        let instance = self.instances.touch(&seen.target, seen.at);
        let shares = [
            Share {
                alarm: &mut instance.memory,
                threshold: &settings.memory,
                resource: "memory",
                cause: "memory is near its limit",
                used: ("memory_bytes", used),
                limit: ("memory_limit_bytes", seen.count("memory_limit_bytes")),
                words: |bytes| format!("{} MiB of memory", bytes >> 20),
            },
            Share {
                alarm: &mut instance.files,
                threshold: &settings.files,
                resource: "files",
                cause: "open files are near their limit",
                used: ("fullest_open_files", seen.count("fullest_open_files")),
                limit: (
                    "fullest_open_files_limit",
                    seen.count("fullest_open_files_limit"),
                ),
                words: |count| format!("{count} open files"),
            },
            Share {
                alarm: &mut instance.threads,
                threshold: &settings.threads,
                resource: "threads",
                cause: "threads are near their limit",
                used: ("threads", seen.count("threads")),
                limit: ("threads_limit", seen.count("threads_limit")),
                words: |count| format!("{count} threads"),
            },
        ];
        for share in shares {
            out.extend(near(share, seen, settings.repeat_ms));
        }
        instance
            .growth
            .sample(seen.at, used, settings.growth_window_ms);
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
                        used >> 20,
                        duration::words(settings.growth_window_ms)
                    ),
                )
                .confidence(700)
                .evidence("resource", "memory")
                .evidence("memory_bytes", used)
                .evidence("memory_bytes_before", begun),
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

/// A finding when an instance has been near a limit of its own for long enough. A limit of 0 is
/// none.
fn near(share: Share<'_>, seen: &Observation, repeat_ms: u64) -> Option<Finding> {
    let ((used_name, used), (limit_name, limit)) = (share.used, share.limit);
    let Some(permille) = used.saturating_mul(1_000).checked_div(limit) else {
        // Whoever had one and has none any more is not near it.
        share.alarm.clear();
        return None;
    };
    sample(share.alarm, share.threshold, permille, seen.at);
    if !share.alarm.due(seen.at, repeat_ms) {
        return None;
    }
    let summary = format!(
        "{} uses {}, {} % of its limit of {}",
        seen.target,
        (share.words)(used),
        permille / 10,
        (share.words)(limit)
    );
    Some(
        about(seen, Severity::Major, share.cause, summary)
            .evidence("resource", share.resource)
            .evidence("permille", permille)
            .evidence(used_name, used)
            .evidence(limit_name, limit),
    )
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
