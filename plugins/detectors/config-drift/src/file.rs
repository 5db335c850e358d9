//! One declared file of one instance, and the verdict on it.

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::health::Health;

/// A declared file as it was seen last.
#[derive(Default, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    hash: String,
    good_hash: String,
    valid: bool,
    problem: String,
    /// When it got the bytes that it has.
    changed_at: u64,
    /// Its bytes were reported as accepted.
    accepted: bool,
    /// When harm was last reported, and of which kind.
    reported: Option<(Harm, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Harm {
    Corrupt,
    Drift,
}

impl File {
    pub fn first(path: &str, seen: &Observation) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        file.seen(seen);
        file
    }

    pub fn seen(&mut self, seen: &Observation) {
        let hash = seen.text("hash").unwrap_or("");
        if self.changed_at == 0 || self.hash != hash {
            hash.clone_into(&mut self.hash);
            self.changed_at = seen.at;
            self.accepted = false;
        }
        seen.text("good_hash")
            .unwrap_or("")
            .clone_into(&mut self.good_hash);
        self.valid = seen.flag("valid") != Some(false) && !hash.is_empty();
        self.problem = seen
            .text("problem")
            .unwrap_or("")
            .chars()
            .take(300)
            .collect();
    }

    pub fn judge(
        &mut self,
        target: &str,
        service: &str,
        health: &Health,
        now: u64,
        settings: &Settings,
    ) -> Option<Finding> {
        let since = self.changed_at.max(now.saturating_sub(settings.window_ms));
        let (requests, failures) = health.since(since);
        let failing = failures >= settings.min_errors
            && failures.saturating_mul(1_000) >= requests.saturating_mul(settings.error_permille);

        let harm = if !self.valid {
            Some(Harm::Corrupt)
        } else if self.hash != self.good_hash && !self.good_hash.is_empty() && failing {
            Some(Harm::Drift)
        } else {
            None
        };
        let Some(harm) = harm else {
            self.reported = None;
            return self.accept(target, service, health, now, settings);
        };
        let due = self
            .reported
            .is_none_or(|(what, at)| what != harm || now.saturating_sub(at) >= settings.repeat_ms);
        if !due {
            return None;
        }
        self.reported = Some((harm, now));
        let found = match harm {
            Harm::Corrupt => self.corrupt(target, failing),
            Harm::Drift => self.drift(target, requests, failures),
        };
        Some(self.with_evidence(found, service))
    }

    fn corrupt(&self, target: &str, failing: bool) -> Finding {
        let name = base_name(&self.path);
        let what = if self.hash.is_empty() {
            "is missing"
        } else {
            "does not parse"
        };
        finding(
            "config-corrupt",
            target,
            if failing {
                Severity::Critical
            } else {
                Severity::Major
            },
            format!("{name} {what}"),
            format!("{} of {target} {what}: {}", self.path, self.problem),
        )
        .evidence("problem", self.problem.clone())
    }

    fn drift(&self, target: &str, requests: u64, failures: u64) -> Finding {
        finding(
            "config-drift",
            target,
            Severity::Major,
            format!("requests fail since {} changed", base_name(&self.path)),
            format!(
                "{} of {target} changed, and {failures} of {requests} requests failed since",
                self.path
            ),
        )
        .confidence(800)
        .evidence("requests", requests)
        .evidence("failures", failures)
    }

    /// Changed, parses, and nothing went wrong for a while: once.
    fn accept(
        &mut self,
        target: &str,
        service: &str,
        health: &Health,
        now: u64,
        settings: &Settings,
    ) -> Option<Finding> {
        let waited = now.saturating_sub(self.changed_at) >= settings.accept_after_ms;
        if self.accepted || self.hash == self.good_hash || !waited {
            return None;
        }
        let since = now.saturating_sub(settings.accept_after_ms);
        let (requests, failures) = health.since(since);
        let ill = health.ill_since(since)
            || failures.saturating_mul(1_000)
                >= requests.saturating_mul(settings.error_permille).max(1);
        if ill {
            return None;
        }
        self.accepted = true;
        let found = finding(
            "config-accepted",
            target,
            Severity::Minor,
            format!("{} changed and does well", base_name(&self.path)),
            format!(
                "{} of {target} changed {} ago, parses, and nothing failed since",
                self.path,
                duration::words(now.saturating_sub(self.changed_at))
            ),
        );
        Some(self.with_evidence(found, service))
    }

    fn with_evidence(&self, found: Finding, service: &str) -> Finding {
        found
            .evidence("service", service)
            .evidence("path", self.path.clone())
            .evidence("hash", self.hash.clone())
            .evidence("good_hash", self.good_hash.clone())
    }
}

/// The stable part of a path: directories differ from instance to instance.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
