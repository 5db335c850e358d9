//! What views show of Grace itself.

use serde::{Deserialize, Serialize};

/// A supervised part of Grace: see design, kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// The process it lives in.
    pub process: String,
    /// How much stops when it stops: 0 traffic, 1 supervision, 2 healing, 3 views.
    pub tier: u8,
    /// `running`, `backoff`, `failed` or `stopped`.
    pub state: String,
    /// Kernels that must run first.
    pub depends_on: Vec<String>,
    /// Since its last sign of life.
    pub heartbeat_age_ms: u64,
    /// Times it was started beyond the first.
    pub restarts: u64,
    /// Things it did: probes made, batches judged, entries written. Its unit is its own.
    pub work_done: u64,
}

/// A plugin as `grace plugin list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// `detector`, `action`; empty when the manifest could not be read.
    pub world: String,
    /// Where it is in its life.
    pub state: PluginState,
    /// File, cause and remedy, when it is not `live`.
    pub error: Option<String>,
    /// Where it came from: `builtin` or a path.
    pub origin: String,
    /// BLAKE3 of the component, hex; empty when it could not be read.
    pub hash: String,
    /// What it asks.
    pub wants: Vec<String>,
    /// What it was granted of that.
    pub granted: Vec<String>,
    /// Calls made to it.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
}

/// Where a plugin is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// Loaded and called.
    Live,
    /// It asks for something the operator has not answered.
    WaitingForGrant,
    /// It cannot be used as it is.
    Refused,
    /// It failed too often.
    Disabled,
}
