//! Faults on purpose. Each is owned by a process of its own with a deadline, reaches nothing but
//! its target, and is undone from what was written down before it began, also by the next `grace
//! up` or `down` when its owner was killed. It drives the host from outside, by its command line,
//! and judges by its own client, the process table and bytes on disk.

#![allow(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null for what is absent"
)]

mod campaign;
mod catalogue;
mod deed;
mod host;
mod owner;
mod record;
mod report;
mod run;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use crate::campaign::{CAMPAIGNS, Campaign, campaign};
pub use crate::catalogue::{ALL, Expect, Family, Fault, fault};
pub use crate::deed::load::main as load;
pub use crate::owner::main as own;
pub use crate::record::{Sweep, sweep};
pub use crate::report::Report;
pub use crate::run::run;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `grace` binary.
    pub grace: PathBuf,
    /// The host's state directory.
    pub state: PathBuf,
    /// How long the fault lasts; none: what the catalogue says.
    pub lasts: Option<Duration>,
    /// How long detection and healing are waited for, each.
    pub patience: Duration,
    /// What clients ask for; none: what readiness is probed by.
    pub path: Option<String>,
    /// Set from outside: end the fault and stop.
    pub stop: Arc<AtomicBool>,
}
