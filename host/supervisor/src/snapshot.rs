//! What a supervisor leaves for the next one: written before an effect, read at the start.
//! A kill loses nothing of it; after a loss of power it is of another boot and only its
//! numbers count.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use grace_model::command::Outcome;
use grace_model::id::{InstanceId, OpId, ServiceName};
use grace_model::instance::ProcessId;
use grace_plan::restart::Machine;
use serde::{Deserialize, Serialize};

use crate::fleets::Squad;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// The boot it is of.
    pub boot_id: String,
    /// The host was shut down: nothing runs, and what failed gets a new chance.
    pub clean: bool,
    /// A shutdown was begun: whoever reads this goes on with it.
    #[serde(default)]
    pub ending: bool,
    /// What the configuration said when the fleets were made.
    pub configured: BTreeMap<ServiceName, u32>,
    /// The services' fleets.
    pub squads: BTreeMap<ServiceName, Squad>,
    /// The instances.
    pub slots: Vec<SlotRecord>,
    /// Operations on services and on Grace's processes that are in hand.
    pub wide: Vec<WideRecord>,
    /// The newest finished operations: their outcome may not have reached the journal.
    pub finished: Vec<(OpId, Outcome)>,
    /// Restarts of Grace's processes.
    pub restarts: BTreeMap<String, u64>,
    /// The last version of the table.
    pub table_version: u64,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SlotRecord {
    pub id: InstanceId,
    pub service: ServiceName,
    pub machine: Machine,
    pub process: Option<RunRecord>,
    pub port: u16,
    pub started: u64,
    pub notify: Option<String>,
}

/// Its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub process: ProcessId,
    pub generation: u64,
    /// Milliseconds since boot.
    pub started_at: u64,
}

/// An operation that is not about one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WideRecord {
    /// A service gets another number of instances.
    Scale {
        op: OpId,
        before: u32,
        waits: Vec<InstanceId>,
    },
    /// A process of Grace is restarted; `old` is what it was.
    Process {
        op: OpId,
        process: String,
        old: Option<ProcessId>,
        /// In good order, for an upgrade.
        #[serde(default)]
        gently: bool,
    },
}

impl WideRecord {
    pub(crate) fn op(&self) -> &OpId {
        match self {
            WideRecord::Scale { op, .. } | WideRecord::Process { op, .. } => op,
        }
    }
}

/// Where it is.
pub(crate) fn path(run: &Path) -> PathBuf {
    run.join("fleet.json")
}

/// None: there is none that can be read; then `/proc` is asked.
pub(crate) fn load(path: &Path) -> Option<Snapshot> {
    let bytes = fs::read(path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            tracing::error!(%error, "{} is damaged; what runs is looked for", path.display());
            None
        }
    }
}

/// Replaces it. Not synced: it serves the same boot only, and a kill takes nothing back that
/// was written.
pub(crate) fn save(path: &Path, snapshot: &Snapshot) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let bytes = serde_json::to_vec(snapshot).map_err(std::io::Error::other)?;
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
