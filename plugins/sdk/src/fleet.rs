//! Small things that several packs need of the fleet: what a target stands for, and waiting
//! for an instance. It must not know any action.

use alloc::string::String;
use alloc::vec::Vec;

use crate::host::{self, Instance, Role, State};
use crate::{PluginError, Result, duration};

/// Time between the first two looks at an instance that is waited for.
const FIRST_LOOK_MS: u32 = 20;
/// And at most, so that 30 s of waiting stay far under the quota of host calls.
const LAST_LOOK_MS: u32 = 250;

/// The instances that a target stands for: itself, or the active ones of a service.
///
/// # Errors
/// `not-applicable` when it is neither.
pub fn instances_of(target: &str) -> Result<Vec<Instance>> {
    match host::fleet::get_instance(target) {
        Ok(instance) => Ok(Vec::from([instance])),
        Err(PluginError::NotApplicable(_)) => {
            let mut instances =
                host::fleet::list_instances(target).map_err(|error| match error {
                    PluginError::NotApplicable(_) => PluginError::NotApplicable(alloc::format!(
                        "{target:?} is neither an instance nor a service"
                    )),
                    other => other,
                })?;
            instances.retain(|instance| instance.role == Role::Active);
            Ok(instances)
        }
        Err(error) => Err(error),
    }
}

/// Whether an instance is only prepared, and as it should be: a failover has given its place to
/// another, and nothing of it is to run.
#[must_use]
pub fn at_rest(instance: &Instance) -> bool {
    instance.role == Role::Warm && instance.state == State::Stopped
}

/// Waits until the instance is ready, or is at rest because a failover made it a warm one; at
/// most until `deadline` by the host's clock.
///
/// # Errors
/// `timed-out`, with the state it is in.
pub fn wait_ready(id: &str, deadline: u64) -> Result<Instance> {
    let begun = host::clock::now();
    let mut look = FIRST_LOOK_MS;
    loop {
        let instance = host::fleet::get_instance(id)?;
        if instance.state == State::Ready || at_rest(&instance) {
            return Ok(instance);
        }
        let now = host::clock::now();
        if now >= deadline {
            return Err(PluginError::TimedOut(alloc::format!(
                "{id} is {} and did not become ready in {}",
                word(instance.state),
                duration::words(now.saturating_sub(begun))
            )));
        }
        let rest = u32::try_from(deadline - now).unwrap_or(u32::MAX);
        host::clock::sleep_ms(rest.min(look))?;
        look = (look + look / 4).min(LAST_LOOK_MS);
    }
}

/// The word for a state, as the command line prints it.
#[must_use]
pub fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Ready => "ready",
        State::Degraded => "degraded",
        State::Draining => "draining",
        State::Quarantined => "quarantined",
        State::Healing => "healing",
        State::Paused => "paused",
        State::Stopped => "stopped",
        State::Failed => "failed",
    }
}

/// Names, joined for a sentence.
#[must_use]
pub fn names(instances: &[Instance]) -> String {
    instances
        .iter()
        .map(|instance| instance.id.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}
