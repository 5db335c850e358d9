//! Detector `artifact-integrity`: a declared artifact (a model's weights, a compiled rule set, a
//! lock file) is missing, or its bytes are not those that were snapshotted. An artifact without a
//! snapshot is nobody's claim, and no finding.

#![cfg_attr(target_family = "wasm", no_std)]

#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Artifacts remembered of one target; a target is a service, or an instance with its own.
const MAX_ARTIFACTS: usize = 64;

/// And of all targets: some 300 bytes each, and a detector may remember 1 MiB.
const MAX_ALL_ARTIFACTS: usize = 2_048;

/// What is remembered of every target.
#[derive(Default, Serialize, Deserialize)]
pub struct ArtifactIntegrity {
    targets: Targets<Vec<Artifact>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Artifact {
    path: String,
    service: String,
    hash: String,
    good_hash: String,
    problem: String,
    reported: Option<u64>,
}

impl Detector for ArtifactIntegrity {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let repeat_ms = config::duration_ms("repeat", "2s")?;
        for seen in &batch.observations {
            if seen.kind == "artifact.file" {
                self.take(seen);
            }
        }
        let mut findings = Vec::new();
        for (target, artifacts) in self.targets.iter_mut() {
            for artifact in artifacts {
                findings.extend(artifact.judge(target, batch.now, repeat_ms));
            }
        }
        Ok(findings)
    }
}

impl ArtifactIntegrity {
    fn take(&mut self, seen: &Observation) {
        let text = |name: &str| seen.text(name).unwrap_or("").to_owned();
        let all: usize = self.targets.iter().map(|(_, own)| own.len()).sum();
        let artifacts = self.targets.touch(&seen.target, seen.at);
        let path = text("path");
        let known = artifacts.iter().position(|one| one.path == path);
        let index = match known {
            Some(index) => index,
            None if artifacts.len() < MAX_ARTIFACTS && all < MAX_ALL_ARTIFACTS => {
                artifacts.push(Artifact {
                    path,
                    ..Artifact::default()
                });
                artifacts.len() - 1
            }
            None => return,
        };
        if let Some(artifact) = artifacts.get_mut(index) {
            artifact.service = text("service");
            artifact.hash = text("hash");
            artifact.good_hash = text("good_hash");
            artifact.problem = text("problem");
        }
    }
}

impl Artifact {
    fn judge(&mut self, target: &str, now: u64, repeat_ms: u64) -> Option<Finding> {
        if self.good_hash.is_empty() || self.hash == self.good_hash {
            self.reported = None;
            return None;
        }
        if self
            .reported
            .is_some_and(|at| now.saturating_sub(at) < repeat_ms)
        {
            return None;
        }
        self.reported = Some(now);
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let what = if self.hash.is_empty() {
            "is missing or cannot be read"
        } else {
            "is not what was snapshotted"
        };
        let found = finding(
            "artifact-corrupt",
            target,
            Severity::Major,
            format!("{name} {what}"),
            format!(
                "{} of {target} {what}: {} instead of {} {}",
                self.path,
                short(&self.hash),
                short(&self.good_hash),
                self.problem
            ),
        );
        Some(
            found
                .evidence("service", self.service.clone())
                .evidence("path", self.path.clone())
                .evidence("hash", self.hash.clone())
                .evidence("good_hash", self.good_hash.clone()),
        )
    }
}

fn short(hash: &str) -> &str {
    if hash.is_empty() {
        "nothing"
    } else {
        hash.get(..12).unwrap_or(hash)
    }
}

export_detector!(ArtifactIntegrity);
