//! One instance as the detector remembers it, and the verdict on it. It must not know other
//! instances.

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Settings;

/// Declared files remembered as broken; more are of no use for the verdict.
const MAX_BROKEN: usize = 8;

/// What is remembered of an instance.
#[derive(Default, Serialize, Deserialize)]
pub struct Instance {
    pub service: String,
    generation: u64,
    pid: u64,
    /// Grace itself keeps it from working (paused, quarantined, draining) or it is not
    /// expected to yet (starting, stopped, failed).
    excused: bool,
    /// Since when its process is stopped.
    stopped_since: Option<u64>,
    gone: bool,
    /// Probes in a row without any answer.
    silent: u64,
    /// Since when probes in a row were answered badly.
    unhealthy_since: Option<u64>,
    problem: String,
    /// The late heartbeat: when it was noticed, age, limit.
    late: Option<(u64, u64, u64)>,
    /// Declared files that do not parse: another detector's matter.
    broken: BTreeSet<String>,
    /// When it was last reported.
    reported: u64,
}

impl Instance {
    /// A new process: nothing is held against it.
    pub fn began(&mut self, generation: u64, pid: u64) {
        let (service, broken) = (
            core::mem::take(&mut self.service),
            core::mem::take(&mut self.broken),
        );
        *self = Self {
            service,
            broken,
            generation,
            pid,
            excused: true,
            ..Self::default()
        };
    }

    pub fn ended(&mut self) {
        self.gone = true;
        self.stopped_since = None;
        self.distrust();
    }

    pub fn became(&mut self, state: &str) {
        self.excused = !matches!(state, "ready" | "degraded" | "healing");
        if self.excused {
            self.distrust();
        }
    }

    pub fn process(&mut self, state: &str, at: u64, for_ms: u64) {
        match state {
            "stopped" => {
                let since = at.saturating_sub(for_ms);
                self.stopped_since = Some(self.stopped_since.map_or(since, |was| was.min(since)));
            }
            "gone" => self.ended(),
            _ => self.stopped_since = None,
        }
    }

    pub fn probed(&mut self, seen: &Observation) {
        if seen.flag("ok") == Some(true) {
            self.silent = 0;
            self.unhealthy_since = None;
            // A process that answers has a heart.
            self.late = None;
            return;
        }
        self.problem = seen
            .text("problem")
            .unwrap_or("")
            .chars()
            .take(200)
            .collect();
        if seen.count("status") == 0 {
            self.silent += 1;
        } else {
            // It answers, so it does not hang; but an answer such as 503 for ever is no use.
            self.silent = 0;
            self.unhealthy_since.get_or_insert(seen.at);
        }
    }

    pub fn heartbeat(&mut self, at: u64, age_ms: u64, limit_ms: u64) {
        self.late = (limit_ms > 0 && age_ms > limit_ms).then_some((at, age_ms, limit_ms));
    }

    pub fn config(&mut self, path: &str, valid: bool) {
        if valid {
            self.broken.remove(path);
        } else if self.broken.len() < MAX_BROKEN {
            self.broken.insert(path.to_owned());
        }
    }

    /// Forgets what a judge saw who did not run himself. That a process is stopped is the
    /// kernel's word; only since when must be measured again, and the caller does that.
    pub fn distrust(&mut self) {
        self.silent = 0;
        self.unhealthy_since = None;
        self.late = None;
    }

    pub fn judge(
        &mut self,
        target: &str,
        now: u64,
        trusted_from: u64,
        settings: &Settings,
    ) -> Option<Finding> {
        if self.gone || self.excused {
            return None;
        }
        let hang = self.verdict(now, trusted_from, settings);
        let Some(hang) = hang else {
            // It recovered: the next hang is reported at once.
            if self.stopped_since.is_none() && self.silent == 0 && self.late.is_none() {
                self.reported = 0;
            }
            return None;
        };
        if self.reported != 0 && now < self.reported.saturating_add(settings.repeat_ms) {
            return None;
        }
        self.reported = now;
        let mut found = finding(
            "instance-hang",
            target,
            Severity::Major,
            hang.cause,
            format!(
                "{target} (pid {}) runs and does not work: {}",
                self.pid, hang.detail
            ),
        )
        .confidence(hang.confidence)
        .evidence("service", self.service.clone())
        .evidence("reason", hang.reason)
        .evidence("generation", self.generation)
        .evidence("pid", self.pid)
        .evidence("for_ms", hang.for_ms);
        if hang.reason == "probe" {
            found = found.evidence("problem", self.problem.clone());
        }
        Some(found)
    }

    fn verdict(&self, now: u64, trusted_from: u64, settings: &Settings) -> Option<Verdict> {
        if let Some(since) = self.stopped_since {
            let for_ms = now.saturating_sub(since.max(trusted_from));
            // A stopped process answers no probe and sends no heartbeat either: this is the
            // whole story, also while it is too short to tell.
            return (for_ms >= settings.stopped_for_ms).then(|| Verdict {
                reason: "stopped",
                cause: "process is stopped",
                detail: format!("stopped for {}", duration::words(for_ms)),
                confidence: 1_000,
                for_ms,
            });
        }
        if let Some((at, age, limit)) = self.late {
            let for_ms = age + now.saturating_sub(at);
            return Some(Verdict {
                reason: "heartbeat",
                cause: "heartbeat is late",
                detail: format!(
                    "no heartbeat for {}, promised every {}",
                    duration::words(for_ms),
                    duration::words(limit)
                ),
                confidence: 900,
                for_ms,
            });
        }
        if self.silent >= settings.probe_failures {
            return Some(Verdict {
                reason: "probe",
                cause: "probes get no answer",
                detail: format!(
                    "{} probes in a row got no answer: {}",
                    self.silent, self.problem
                ),
                confidence: 850,
                for_ms: 0,
            });
        }
        let since = self.unhealthy_since?;
        let for_ms = now.saturating_sub(since);
        (self.broken.is_empty() && for_ms >= settings.unhealthy_for_ms).then(|| Verdict {
            reason: "probe",
            cause: "probes get bad answers",
            detail: format!(
                "bad answers to probes for {}: {}",
                duration::words(for_ms),
                self.problem
            ),
            confidence: 600,
            for_ms,
        })
    }
}

struct Verdict {
    reason: &'static str,
    cause: &'static str,
    detail: String,
    confidence: u16,
    for_ms: u64,
}
