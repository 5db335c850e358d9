//! Detector `__name__`: finds instances whose probe failed several times in a row.

#![cfg_attr(target_family = "wasm", no_std)]

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The detector's memory. The host keeps it between calls.
#[derive(Default, Serialize, Deserialize)]
pub struct Plugin {
    /// Failed probes in a row, by instance.
    failed: Targets<u64>,
}

impl Detector for Plugin {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let limit = config::number("failures", 3)?;
        let mut findings = Vec::new();
        for seen in &batch.observations {
            // Ignore what you do not know: kinds and fields are listed in sdk/wit/README.md.
            if seen.kind != "instance.probe" {
                continue;
            }
            let failed = self.failed.touch(&seen.target, seen.at);
            if seen.flag("ok") == Some(true) {
                *failed = 0;
                continue;
            }
            *failed += 1;
            if *failed == limit {
                findings.push(
                    finding(
                        // What playbooks trigger on.
                        "__name__",
                        &seen.target,
                        Severity::Moderate,
                        // The stable cause: no pid, port, time or id in it.
                        "probes fail",
                        format!("{} failed {failed} probes in a row", seen.target),
                    )
                    // For ${finding.evidence.problem} in playbooks.
                    .evidence("problem", seen.text("problem").unwrap_or("")),
                );
            }
        }
        Ok(findings)
    }
}

export_detector!(Plugin);

#[cfg(test)]
mod tests {
    use grace_plugin_sdk::testkit::{Bench, check_cases, check_manifest, seen};

    use super::*;

    #[test]
    fn three_failed_probes_in_a_row_are_a_finding_and_two_are_none() {
        let mut bench = Bench::<Plugin>::new();
        let failed = || seen("instance.probe", "shop-1").with("ok", false);
        assert!(bench.observe(1_000, [failed(), failed()]).is_empty());
        assert_eq!(bench.observe(2_000, [failed()]).len(), 1);
    }

    #[test]
    fn the_manifest_lists_every_setting_with_its_default() {
        check_manifest::<Plugin>(env!("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn the_cases_come_out_as_they_say() {
        check_cases::<Plugin>(env!("CARGO_MANIFEST_DIR"));
    }
}
