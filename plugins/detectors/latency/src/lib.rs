//! Detector `latency`: an instance answers, but far too slowly. It must not know why. What is
//! usual is learned from the siblings, so that a slow day of all is not one instance's fault.

#![cfg_attr(target_family = "wasm", no_std)]

mod siblings;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use siblings::Siblings;

/// Weight of the past when learning: 15 of 16 parts.
const PAST: u64 = 15;

/// What is remembered of every instance.
#[derive(Default, Serialize, Deserialize)]
pub struct Latency {
    instances: Targets<Instance>,
}

#[derive(Default, Serialize, Deserialize)]
struct Instance {
    service: String,
    alarm: Alarm,
    /// What is usual for its 99th percentile, and the windows that this was learned from.
    usual_us: u64,
    windows: u64,
    p99_us: u64,
    p50_us: u64,
    requests: u64,
    /// The limit that it was held against last, and whether that was the absolute one.
    limit_us: u64,
    absolute: bool,
    seen_at: u64,
    /// Since when it is out of rotation. It gets hardly a request there, so no window will ever
    /// have enough of them: that its trials are late does.
    #[serde(default)]
    out_since: Option<u64>,
    /// Too late is why.
    #[serde(default)]
    late: bool,
    #[serde(default)]
    lately: Lately,
}

/// What an instance did since it was first taken out of rotation, not long ago.
#[derive(Default, Serialize, Deserialize)]
struct Lately {
    ejections: u64,
    ejected_at: u64,
    requests: u64,
    late: u64,
}

/// An ejection so long after the last one is another trouble, as it is to the load balancer.
const SAME_TROUBLE_MS: u64 = 60_000;

struct Settings {
    p99_limit_us: u64,
    ratio_permille: u64,
    floor_us: u64,
    min_requests: u64,
    learn: u64,
    sustain_ms: u64,
    ejected_for_ms: u64,
    repeat_ms: u64,
}

impl Settings {
    fn read() -> Result<Self> {
        let us = |key: &str, default: &str| {
            config::duration_ms(key, default).map(|ms| ms.saturating_mul(1_000))
        };
        Ok(Self {
            p99_limit_us: us("p99_limit", "2s")?,
            ratio_permille: config::number("ratio_permille", 5_000)?,
            floor_us: us("floor", "250ms")?,
            min_requests: config::number("min_requests", 10)?.max(1),
            learn: config::number("learn", 20)?.max(1),
            sustain_ms: config::duration_ms("sustain", "3s")?,
            ejected_for_ms: config::duration_ms("ejected_for", "1s")?,
            repeat_ms: config::duration_ms("repeat", "5s")?,
        })
    }

    /// The limit for an instance for which this is usual, and whether it is the absolute one.
    fn limit(&self, usual_us: Option<u64>) -> Option<(u64, bool)> {
        let absolute = (self.p99_limit_us > 0).then_some((self.p99_limit_us, true));
        let relative = usual_us.filter(|_| self.ratio_permille > 0).map(|usual| {
            let limit = usual.saturating_mul(self.ratio_permille) / 1_000;
            (limit.max(self.floor_us), false)
        });
        match (absolute, relative) {
            (Some(absolute), Some(relative)) => Some(absolute.min(relative)),
            (absolute, relative) => absolute.or(relative),
        }
    }
}

impl Detector for Latency {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let settings = Settings::read()?;
        let siblings = Siblings::of(&self.instances, &settings, batch.now);
        for seen in &batch.observations {
            match seen.kind.as_str() {
                "instance.traffic" => self.traffic(&settings, &siblings, seen),
                // A new process has to warm up, and an old one's slowness is not its own. What
                // is usual stays: it is the same program.
                "instance.spawned" | "instance.exited" => {
                    let instance = self.instances.touch(&seen.target, seen.at);
                    instance.returned();
                    instance.lately = Lately::default();
                }
                "instance.returned" => {
                    self.instances.touch(&seen.target, seen.at).returned();
                }
                "instance.ejected" => {
                    self.instances.touch(&seen.target, seen.at).ejected(seen.at);
                }
                _ => {}
            }
        }
        let mut findings = Vec::new();
        for (target, instance) in self.instances.iter_mut() {
            // Without traffic nothing is slow, but for what is kept from it for being slow.
            if !instance.late
                && instance
                    .seen_at
                    .saturating_add(settings.sustain_ms.max(1_000))
                    < batch.now
            {
                instance.alarm.clear();
            }
            if instance.alarm.due(batch.now, settings.repeat_ms) {
                findings.push(report(target, instance));
            }
        }
        Ok(findings)
    }
}

impl Latency {
    fn traffic(&mut self, settings: &Settings, siblings: &Siblings, seen: &Observation) {
        let requests = seen.count("requests");
        let service = seen.text("service").unwrap_or("");
        self.instances
            .touch(&seen.target, seen.at)
            .out_of_rotation(settings, seen, service);
        if requests < settings.min_requests {
            return;
        }
        let usual = siblings.usual(&seen.target, service);
        let p99_us = seen.count("p99_us");

        let instance = self.instances.touch(&seen.target, seen.at);
        service.clone_into(&mut instance.service);
        instance.requests = requests;
        instance.p99_us = p99_us;
        instance.p50_us = seen.count("p50_us");
        instance.seen_at = seen.at;
        let limit = settings.limit(usual);
        if let Some((limit_us, absolute)) = limit {
            (instance.limit_us, instance.absolute) = (limit_us, absolute);
            if p99_us > limit_us {
                instance.alarm.over(seen.at, settings.sustain_ms);
                // What is slow is not to become usual.
                return;
            }
            // Clearly faster: under 70 % of the limit.
            if p99_us < limit_us / 10 * 7 {
                instance.alarm.under(seen.at, settings.sustain_ms);
            } else {
                instance.alarm.between();
            }
        }
        instance.usual_us = if instance.windows == 0 {
            p99_us
        } else {
            (instance
                .usual_us
                .saturating_mul(PAST)
                .saturating_add(p99_us))
                / (PAST + 1)
        };
        instance.windows = instance.windows.saturating_add(1);
    }
}

impl Instance {
    fn ejected(&mut self, at: u64) {
        self.out_since.get_or_insert(at);
        if at.saturating_sub(self.lately.ejected_at) > SAME_TROUBLE_MS {
            self.lately = Lately::default();
        }
        self.lately.ejections += 1;
        self.lately.ejected_at = at;
    }

    /// Back in rotation, by a trial that passed or by its probe, which may be faster than what
    /// clients ask; or another process.
    fn returned(&mut self) {
        self.alarm.clear();
        self.out_since = None;
        self.late = false;
    }

    /// A window of one that is or was out of rotation. It has too few requests for any share.
    fn out_of_rotation(&mut self, settings: &Settings, seen: &Observation, service: &str) {
        let lately = &mut self.lately;
        let (requests, p50_us) = (seen.count("requests"), seen.count("p50_us"));
        if lately.ejections == 0
            || seen.at.saturating_sub(lately.ejected_at) > SAME_TROUBLE_MS
            || p50_us == 0
        {
            return;
        }
        // What failed or got no answer is not slow, but worse.
        let answered = seen.count("errors") == 0 && seen.count("unanswered") == 0;
        let late = answered && p50_us > settings.floor_us;
        lately.requests += requests;
        lately.late += if late { requests } else { 0 };
        // Later than what was in flight, a request is a trial.
        let trial = self
            .out_since
            .is_some_and(|out| seen.at.saturating_sub(out) >= settings.ejected_for_ms);
        let again = lately.ejections > 1 && lately.late.saturating_mul(2) > lately.requests;
        if late && (trial || again) {
            service.clone_into(&mut self.service);
            self.late = true;
            self.requests = requests;
            self.p99_us = seen.count("p99_us");
            self.p50_us = p50_us;
            self.limit_us = settings.floor_us;
            self.absolute = false;
            self.alarm.over(seen.at, 0);
        }
    }
}

fn report(target: &str, instance: &Instance) -> Finding {
    let cause = if instance.late {
        "answers so late that it is kept out of rotation"
    } else if instance.absolute {
        "answers slower than the limit"
    } else {
        "answers far slower than usual"
    };
    finding(
        "latency-high",
        target,
        if instance.absolute || instance.late {
            Severity::Major
        } else {
            Severity::Moderate
        },
        cause,
        format!(
            "p99 of {target} is {} ms, the limit is {} ms",
            instance.p99_us / 1_000,
            instance.limit_us / 1_000
        ),
    )
    .confidence(800)
    .evidence("service", instance.service.clone())
    .evidence("p99_us", instance.p99_us)
    .evidence("p50_us", instance.p50_us)
    .evidence("limit_us", instance.limit_us)
    .evidence("usual_us", instance.usual_us)
    .evidence("requests", instance.requests)
}

export_detector!(Latency);
