//! `probe.smoke`: each instance gets ready and answers once, within a time.

use grace_plugin_sdk::fleet::{instances_of, names, wait_ready};
use grace_plugin_sdk::prelude::*;

use crate::{Settings, look};

const ATTEMPTS: u32 = 5;
const WITHIN_MS: u32 = 10_000;

pub fn plan(call: &Call) -> Result<Vec<String>> {
    let instances = instances_of(call.need_text("target")?)?;
    let within = call.maybe_count("within")?.unwrap_or(WITHIN_MS);
    Ok(vec![format!(
        "wait up to {} until {} {}",
        duration::words(u64::from(within)),
        names(&instances),
        if instances.len() == 1 {
            "is ready and answers"
        } else {
            "are ready and answer"
        },
    )])
}

pub fn run(call: &Call, settings: &Settings) -> Result<Receipt> {
    let target = call.need_text("target")?;
    let path = call.text("path").filter(|path| !path.is_empty());
    let attempts = call.maybe_count("attempts")?.unwrap_or(ATTEMPTS).max(1);
    let within = call.maybe_count("within")?.unwrap_or(WITHIN_MS);
    let begun = host::clock::now();
    let deadline = begun.saturating_add(u64::from(within));

    let instances = instances_of(target)?;
    if instances.is_empty() {
        return Err(PluginError::Unavailable(format!(
            "{target} has no active instance"
        )));
    }
    let (mut made, mut slowest) = (0_u32, 0);
    for instance in &instances {
        let mut bad = 0;
        loop {
            // Asked anew before every try: it may have died since the last one.
            let instance = wait_ready(&instance.id, deadline)?;
            made += 1;
            let left = deadline.saturating_sub(host::clock::now()).max(1);
            let timeout = settings
                .timeout_ms
                .min(u32::try_from(left).unwrap_or(u32::MAX));
            let seen = look(&instance, path, timeout)?;
            if seen.good {
                slowest = slowest.max(seen.latency_us);
                break;
            }
            bad += 1;
            if bad >= attempts {
                return Err(PluginError::Unavailable(format!(
                    "{} is ready and did not answer well in {bad} attempts: {}",
                    instance.id, seen.problem
                )));
            }
            if host::clock::now().saturating_add(u64::from(settings.every_ms)) >= deadline {
                return Err(PluginError::TimedOut(format!(
                    "{} did not answer well within {}: {}",
                    instance.id,
                    duration::words(u64::from(within)),
                    seen.problem
                )));
            }
            host::clock::sleep_ms(settings.every_ms)?;
        }
    }
    let took = duration::words(host::clock::now().saturating_sub(begun));
    Ok(receipt(
        false,
        format!("{} answered, after {took}", names(&instances)),
    )
    .output("instances", instances.len() as u64)
    .output("attempts", made)
    .output("latency_us", slowest))
}
