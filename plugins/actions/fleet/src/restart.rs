//! `fleet.restart`: one instance, or a service's instances one after another.

use grace_plugin_sdk::fleet::{at_rest, instances_of, wait_ready};
use grace_plugin_sdk::host::StopMode;
use grace_plugin_sdk::prelude::*;

/// Time an instance of a service may take to be ready before the next one is restarted.
const READY_WITHIN_MS: u32 = 10_000;

pub fn plan(call: &Call) -> Result<Vec<String>> {
    let how = match mode(call)? {
        StopMode::Graceful => "drain, SIGTERM, start again",
        StopMode::Kill => "SIGKILL, start again",
    };
    let instances = instances_of(call.need_text("target")?)?;
    Ok(instances
        .iter()
        .map(|instance| format!("restart {}: {how}", crate::as_it_is(instance)))
        .collect())
}

pub fn run(call: &Call) -> Result<Receipt> {
    let target = call.need_text("target")?;
    let (mode, reason) = (mode(call)?, call.reason());
    let within = call.maybe_count("within")?.unwrap_or(READY_WITHIN_MS);
    let instances = instances_of(target)?;
    let single = instances.len() == 1;
    if let Some(one) = instances.first().filter(|one| single && at_rest(one)) {
        // A failover has given its place to another. A start would only be taken back.
        return Ok(receipt(
            false,
            format!("{target} is warm now and nothing of it is to run"),
        )
        .output("generation", one.generation)
        .output("restarted", 0_u32));
    }
    let (mut generation, mut restarted) = (0, 0_u32);
    for instance in &instances {
        generation = host::fleet::restart(&instance.id, mode, &reason)?;
        restarted += 1;
        // One instance is for the playbook to verify. Of several, the next must not be taken
        // while this one is down, or a bad build takes the whole service.
        if !single {
            wait_ready(
                &instance.id,
                host::clock::now().saturating_add(u64::from(within)),
            )
            .map_err(|error| stopped_at(&error, restarted, instances.len()))?;
        }
    }
    let summary = if single {
        format!("restarted {target}, now generation {generation}")
    } else {
        format!("restarted {restarted} instances of {target}, one after another")
    };
    Ok(receipt(restarted > 0, summary)
        .output("generation", generation)
        .output("restarted", restarted))
}

fn stopped_at(error: &PluginError, restarted: u32, all: usize) -> PluginError {
    PluginError::Unavailable(format!(
        "stopped after {restarted} of {all} instances: {}",
        grace_plugin_sdk::action::words(error)
    ))
}

fn mode(call: &Call) -> Result<StopMode> {
    match call.text("mode") {
        None | Some("" | "graceful") => Ok(StopMode::Graceful),
        Some("kill") => Ok(StopMode::Kill),
        Some(other) => Err(PluginError::InvalidInput(format!(
            "fleet.restart: mode must be graceful or kill, not {other:?}"
        ))),
    }
}
