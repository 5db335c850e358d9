//! Detector `error-rate`: too many requests of an instance fail. It must not know why, and is
//! silent where another detector does: the instance crashed, is stopped, or its configuration
//! does not parse.

#![cfg_attr(target_family = "wasm", no_std)]

mod instance;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use instance::{Instance, Share};

/// What is remembered of every instance.
#[derive(Default, Serialize, Deserialize)]
pub struct ErrorRate {
    instances: Targets<Instance>,
}

struct Settings {
    window_ms: u64,
    min_requests: u64,
    open_permille: u64,
    close_permille: u64,
    sustain_ms: u64,
    explained_for_ms: u64,
    ejected_for_ms: u64,
    repeat_ms: u64,
}

impl Settings {
    fn read() -> Result<Self> {
        let open_permille = config::number("open_permille", 50)?;
        Ok(Self {
            window_ms: config::duration_ms("window", "5s")?,
            min_requests: config::number("min_requests", 20)?.max(1),
            open_permille,
            close_permille: config::number("close_permille", 10)?.min(open_permille),
            sustain_ms: config::duration_ms("sustain", "500ms")?,
            explained_for_ms: config::duration_ms("explained_for", "3s")?,
            ejected_for_ms: config::duration_ms("ejected_for", "1s")?,
            repeat_ms: config::duration_ms("repeat", "2s")?,
        })
    }
}

impl Detector for ErrorRate {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let settings = Settings::read()?;
        for seen in &batch.observations {
            self.take(&settings, seen);
        }
        // Judged in two rounds, so that each finding can say how its siblings do.
        let mut busy = BTreeMap::<String, (u64, u64)>::new();
        let mut due = Vec::new();
        for (target, instance) in self.instances.iter_mut() {
            let Some(share) = instance.judge(batch.now, &settings) else {
                continue;
            };
            let service = busy.entry(instance.service.clone()).or_default();
            service.0 += 1;
            service.1 += u64::from(instance.alarm.is_raised());
            if instance.alarm.due(batch.now, settings.repeat_ms) {
                due.push((target.to_owned(), instance.service.clone(), share));
            }
        }
        Ok(due
            .into_iter()
            .map(|(target, service, share)| {
                let (with_traffic, failing) = busy.get(&service).copied().unwrap_or_default();
                report(&settings, &target, &service, &share, with_traffic, failing)
            })
            .collect())
    }
}

impl ErrorRate {
    fn take(&mut self, settings: &Settings, seen: &Observation) {
        match seen.kind.as_str() {
            "instance.traffic" | "instance.exited" | "instance.spawned" | "instance.process"
            | "instance.ejected" | "instance.returned" | "config.file" => {}
            _ => return,
        }
        let instance = self.instances.touch(&seen.target, seen.at);
        if let Some(service) = seen.text("service") {
            service.clone_into(&mut instance.service);
        }
        match seen.kind.as_str() {
            "instance.traffic" => instance.traffic(seen, settings),
            "instance.exited" => instance.explained(seen.at, settings),
            "instance.spawned" => instance.began(),
            "instance.ejected" => instance.ejected(seen.at),
            "instance.returned" => instance.returned(),
            "instance.process" => instance.process(seen, settings),
            _ => instance.config(seen, settings),
        }
    }
}

fn report(
    settings: &Settings,
    target: &str,
    service: &str,
    share: &Share,
    with_traffic: u64,
    failing: u64,
) -> Finding {
    // When every instance fails alike, the reason is not in one of them.
    let scope = if with_traffic > 1 && failing == with_traffic {
        "service"
    } else {
        "instance"
    };
    let cause = if share.unanswered > share.errors {
        "requests get no answer"
    } else {
        "requests are answered with errors"
    };
    let permille = share.permille();
    finding(
        "error-rate",
        target,
        if permille >= 500 {
            Severity::Critical
        } else {
            Severity::Major
        },
        cause,
        format!(
            "{} of {} requests to {target} failed {} ({}.{} %)",
            share.errors + share.unanswered,
            share.requests,
            if share.trials {
                "while it was out of rotation".to_owned()
            } else {
                format!("in {}", duration::words(settings.window_ms))
            },
            permille / 10,
            permille % 10,
        ),
    )
    .confidence(900)
    .evidence("service", service)
    .evidence("scope", scope)
    .evidence("requests", share.requests)
    .evidence("errors", share.errors)
    .evidence("unanswered", share.unanswered)
    .evidence("share_permille", permille)
    .evidence("failing_instances", failing)
}

export_detector!(ErrorRate);
