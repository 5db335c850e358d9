//! `probe.smoke`: each instance gets ready and answers once, within a time.

use grace_plugin_sdk::fleet::{at_rest, instances_of, names, wait_ready};
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
    let within = call.maybe_count("within")?.unwrap_or(WITHIN_MS);
    let begun = host::clock::now();
    let mut asking = Asking {
        path: call.text("path").filter(|path| !path.is_empty()),
        attempts: call.maybe_count("attempts")?.unwrap_or(ATTEMPTS).max(1),
        within,
        deadline: begun.saturating_add(u64::from(within)),
        settings,
        made: 0,
        slowest_us: 0,
    };
    let (mut well, mut warm) = (Vec::new(), Vec::new());
    for instance in instances_of(target)? {
        if asking.answers(&instance.id)? {
            well.push(instance);
        } else {
            warm.push(instance);
        }
    }
    // Its place was given to another: what counts is that those answer who serve now.
    if let Some(one) = warm.first() {
        for heir in instances_of(&one.service)? {
            let new = well.iter().all(|other| other.id != heir.id);
            if new && asking.answers(&heir.id)? {
                well.push(heir);
            }
        }
    }
    if well.is_empty() {
        return Err(PluginError::Unavailable(format!(
            "{target} has no active instance"
        )));
    }
    let told = if warm.is_empty() {
        String::new()
    } else {
        format!("{} is warm now, by its role; ", names(&warm))
    };
    let took = duration::words(host::clock::now().saturating_sub(begun));
    Ok(receipt(
        false,
        format!("{told}{} answered, after {took}", names(&well)),
    )
    .output("instances", well.len() as u64)
    .output("attempts", asking.made)
    .output("latency_us", asking.slowest_us))
}

/// How all are asked, and what was seen of them.
struct Asking<'call> {
    path: Option<&'call str>,
    attempts: u32,
    within: u32,
    deadline: u64,
    settings: &'call Settings,
    made: u32,
    slowest_us: u64,
}

impl Asking<'_> {
    /// Waits until an instance is ready and answers well. No: it is at rest, by its role.
    fn answers(&mut self, id: &str) -> Result<bool> {
        let mut bad = 0;
        loop {
            // Asked anew before every try: it may have died since the last one.
            let instance = wait_ready(id, self.deadline)?;
            if at_rest(&instance) {
                return Ok(false);
            }
            self.made += 1;
            let left = self.deadline.saturating_sub(host::clock::now()).max(1);
            let timeout = self
                .settings
                .timeout_ms
                .min(u32::try_from(left).unwrap_or(u32::MAX));
            let seen = look(&instance, self.path, timeout)?;
            if seen.good {
                self.slowest_us = self.slowest_us.max(seen.latency_us);
                return Ok(true);
            }
            bad += 1;
            if bad >= self.attempts {
                return Err(PluginError::Unavailable(format!(
                    "{id} is ready and did not answer well in {bad} attempts: {}",
                    seen.problem
                )));
            }
            let every = self.settings.every_ms;
            if host::clock::now().saturating_add(u64::from(every)) >= self.deadline {
                return Err(PluginError::TimedOut(format!(
                    "{id} did not answer well within {}: {}",
                    duration::words(u64::from(self.within)),
                    seen.problem
                )));
            }
            host::clock::sleep_ms(every)?;
        }
    }
}
