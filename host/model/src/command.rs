//! What may be asked of the supervisor, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::config::{Roles, Service};
use crate::id::{InstanceId, ServiceName};

/// A change to the fleet. Each carries an operation id beside it; the same id again gives
/// the remembered outcome and no second effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// End the process and start a new one.
    Restart {
        /// Which.
        instance: InstanceId,
        /// How.
        mode: StopMode,
        /// Why.
        reason: String,
    },
    /// Out of rotation, then SIGSTOP.
    Pause {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// SIGCONT.
    Resume {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// Set the number of instances.
    Scale {
        /// Of which service.
        service: ServiceName,
        /// To how many, 0 to 256.
        instances: u32,
        /// Why.
        reason: String,
    },
    /// No new requests; done when those in flight have ended.
    Drain {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// Out of rotation and kept so, process left running.
    Quarantine {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// End a drain or a quarantine.
    Release {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// Make a hot instance active; the one it replaces leaves first.
    Promote {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// Give the instances of a service these shares of 10,000, to which they must sum; none:
    /// equal shares.
    Weights {
        /// Of which service.
        service: ServiceName,
        /// Share of each.
        shares: Vec<(InstanceId, u32)>,
        /// Why.
        reason: String,
    },
    /// Set the number of instances of each role.
    Resize {
        /// Of which service.
        service: ServiceName,
        /// To how many.
        roles: Roles,
        /// Why.
        reason: String,
    },
    /// Bring in another version of a service; back by itself when it does badly.
    Rollout {
        /// The service as it is to be. Where it listens and how it is probed stay as they are.
        definition: Box<Service>,
        /// How.
        strategy: Strategy,
        /// Why.
        reason: String,
    },
    /// Go back to the version before.
    Rollback {
        /// Of which service.
        service: ServiceName,
        /// Why.
        reason: String,
    },
    /// End a process of Grace itself; the supervisor starts it again.
    RestartProcess {
        /// `proxy` or `healer`.
        process: String,
    },
    /// Put another process in the place of one of Grace itself, in good order and from the
    /// program that an upgrade has chosen. Done when the new one is in place.
    RenewProcess {
        /// `keeper`, `supervisor`, `proxy` or `healer`.
        process: String,
    },
}

/// How a new version comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One instance after another.
    Rolling,
    /// All new ones beside the old ones, then the traffic at once.
    BlueGreen,
    /// One instance, by a ramp and watched; then the others one after another.
    Canary,
}

/// How to end a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopMode {
    /// Drain, SIGTERM, wait, SIGKILL.
    Graceful,
    /// Out of rotation, SIGKILL.
    Kill,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done. `number` is what the command answers with: the new generation (restart,
    /// promote), the count before (scale, resize), the version that runs (rollout, rollback),
    /// else 0.
    Done {
        /// See above.
        number: u64,
    },
    /// Not done, and nothing was changed.
    Refused {
        /// Whether there is no such instance or service.
        unknown_target: bool,
        /// Why, and what to do.
        reason: String,
    },
    /// Begun and not finished in time.
    TimedOut {
        /// What is still missing.
        reason: String,
    },
}
