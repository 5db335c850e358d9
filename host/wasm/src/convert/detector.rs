//! World `detector`: a batch goes out, findings and state come in, within the limits that
//! `wit/worlds.wit` states.

use grace_model::plugin::{Batch, Observed};

use crate::bindings::detect as wit;
use crate::convert::types;
use crate::failure::Stop;

/// Bytes of state that the host keeps for a detector.
const MAX_STATE: usize = 1 << 20;
/// Findings of one call.
const MAX_FINDINGS: usize = 256;

pub fn batch_out(batch: &Batch) -> wit::Batch {
    wit::Batch {
        now: batch.now,
        observations: batch
            .observations
            .iter()
            .map(types::observation_out)
            .collect(),
    }
}

pub fn observed_in(observed: wit::Observed) -> Result<Observed, Stop> {
    if observed.state.len() > MAX_STATE {
        return Err(Stop::Quota(format!(
            "a state of {} bytes; at most {MAX_STATE} are kept",
            observed.state.len()
        )));
    }
    if observed.findings.len() > MAX_FINDINGS {
        return Err(Stop::Quota(format!(
            "{} findings in one call; at most {MAX_FINDINGS}",
            observed.findings.len()
        )));
    }
    Ok(Observed {
        state: observed.state,
        findings: observed
            .findings
            .into_iter()
            .map(types::finding_in)
            .collect(),
    })
}
