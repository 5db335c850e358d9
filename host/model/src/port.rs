//! Ports: what one room needs of another without naming it. `grace` joins them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::StopMode;
use crate::instance::InstanceView;
use crate::plugin::{ActionCall, ActionInfo, Batch, Observed, PluginError, Receipt, Severity};
use crate::status::PluginView;

/// A host call of an action, after the grant was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "each is documented in wit/host.wit, whose functions these are"
)]
pub enum HostCall {
    Now,
    Sleep {
        ms: u32,
    },
    GetInstance {
        id: String,
    },
    ListInstances {
        service: String,
    },
    Restart {
        id: String,
        mode: StopMode,
        reason: String,
    },
    Pause {
        id: String,
        reason: String,
    },
    Resume {
        id: String,
        reason: String,
    },
    Scale {
        service: String,
        instances: u32,
        reason: String,
    },
    Drain {
        id: String,
        reason: String,
    },
    Quarantine {
        id: String,
        reason: String,
    },
    Release {
        id: String,
        reason: String,
    },
    ConfigFiles {
        id: String,
    },
    ConfigRead {
        id: String,
        path: String,
    },
    ConfigSnapshot {
        id: String,
        path: String,
    },
    ConfigRestore {
        id: String,
        path: String,
    },
    ConfigPutBack {
        id: String,
        path: String,
        hash: String,
    },
    ProbeHttp {
        id: String,
        path: String,
        timeout_ms: u32,
    },
    ProbeDeclared {
        id: String,
        timeout_ms: u32,
    },
    Traffic {
        target: String,
        window_ms: u32,
    },
    Notify {
        channel: String,
        severity: Severity,
        subject: String,
        text: String,
    },
}

/// The answer to a host call; which one belongs to which call is told by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is documented in wit/host.wit")]
pub enum HostAnswer {
    Done,
    Number {
        number: u64,
    },
    Text {
        text: Option<String>,
    },
    Bytes {
        bytes: Vec<u8>,
    },
    Instance {
        instance: InstanceView,
    },
    Instances {
        instances: Vec<InstanceView>,
    },
    Files {
        files: Vec<ConfigFileView>,
    },
    Probe {
        status: u16,
        latency_us: u64,
        problem: Option<String>,
    },
    Traffic {
        window_ms: u64,
        requests: u64,
        failures: u64,
        p50_us: u64,
        p99_us: u64,
    },
}

/// A declared configuration file as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFileView {
    /// As declared, `{data}` filled in.
    pub path: String,
    /// BLAKE3 in hex, empty when missing.
    pub hash: String,
    /// Of the last good copy, empty when none.
    pub good_hash: String,
    /// Why it does not parse.
    pub problem: Option<String>,
}

/// A declared artifact as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactView {
    /// The service that declares it.
    pub service: String,
    /// The service, or the instance that has one of its own.
    pub target: String,
    /// As declared, `{data}` filled in.
    pub path: String,
    /// BLAKE3 of the bytes on disk, in hex; empty when they cannot be read.
    pub hash: String,
    /// Of the snapshot; empty when there is none.
    pub snapshot: String,
    /// Why it is not as it should be; none when it is what was snapshotted.
    pub problem: Option<String>,
}

/// Carries out host calls of one call of an action. Blocking: it is called from a thread that
/// belongs to that call.
pub trait HostPort: Send {
    /// Does it, within `budget`, which is what is left of the action's wall clock.
    ///
    /// # Errors
    /// What the plugin will see.
    fn call(&mut self, call: HostCall, budget: Duration) -> Result<HostAnswer, PluginError>;
}

/// What the host has to say of a call: the third channel beside answer and plugin's error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "failure", content = "detail", rename_all = "kebab-case")]
pub enum CallFailure {
    /// The plugin answered with an error of its own.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It trapped.
    #[error("trapped: {0}")]
    Trap(String),
    /// It used up its fuel.
    #[error("used up its fuel of {0}")]
    Fuel(u64),
    /// It used up its wall clock, in milliseconds.
    #[error("ran longer than {0} ms")]
    Deadline(u64),
    /// It wanted more memory than this many bytes.
    #[error("wanted more than {0} bytes of memory")]
    Memory(u64),
    /// It made more host calls, or a larger output, than allowed.
    #[error("over its quota: {0}")]
    Quota(String),
    /// There is no such plugin, or it is not live.
    #[error("not callable: {0}")]
    NotCallable(String),
}

impl CallFailure {
    /// Whether it is held against the plugin. Its own polite error is not.
    #[must_use]
    pub fn is_strike(&self) -> bool {
        !matches!(self, CallFailure::Plugin(_) | CallFailure::NotCallable(_))
    }
}

/// The plugin host as the healer sees it. Blocking; calls may come from several threads.
pub trait PluginHost: Send + Sync {
    /// Every plugin that was found, live or not.
    fn list(&self) -> Vec<PluginView>;

    /// Rises whenever the set of live plugins changes.
    fn generation(&self) -> u64;

    /// Names of the live detectors with their granted `events:read` and `metrics:read`.
    fn detectors(&self) -> Vec<DetectorView>;

    /// One call of a detector.
    ///
    /// # Errors
    /// [`CallFailure`]; strikes are counted inside.
    fn observe(&self, detector: &str, state: &[u8], batch: &Batch)
    -> Result<Observed, CallFailure>;

    /// The actions of all live packs.
    fn actions(&self) -> Vec<ActionInfo>;

    /// What an action would do.
    ///
    /// # Errors
    /// [`CallFailure`].
    fn plan(&self, call: &ActionCall, port: Box<dyn HostPort>) -> Result<Vec<String>, CallFailure>;

    /// Runs an action. `timeout` shortens the wall clock of the manifest.
    ///
    /// # Errors
    /// [`CallFailure`].
    fn run(
        &self,
        call: &ActionCall,
        port: Box<dyn HostPort>,
        timeout: Duration,
    ) -> Result<Receipt, CallFailure>;

    /// Takes back what a receipt says.
    ///
    /// # Errors
    /// [`CallFailure`].
    fn undo(
        &self,
        action: &str,
        receipt: &Receipt,
        port: Box<dyn HostPort>,
        timeout: Duration,
    ) -> Result<(), CallFailure>;
}

/// A live detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorView {
    /// Its name.
    pub name: String,
    /// Whether it may see lifecycle events.
    pub events: bool,
    /// Whether it may see probes, traffic and resources.
    pub metrics: bool,
}

/// What the API shows, as the healer knows it. Every method answers from memory or the ledger
/// and returns soon.
pub trait HostViews: Send + Sync {
    /// The supervisor's last status, or none while it cannot be reached.
    fn fleet(&self) -> Option<crate::ipc::FleetStatus>;
    /// All incidents, oldest first.
    fn incidents(&self) -> Vec<crate::incident::Incident>;
    /// Rises with every change of an incident.
    fn incidents_version(&self) -> u64;
    /// All incidents, oldest first, with the number of the last ledger entry that they hold.
    fn incidents_at(&self) -> (u64, Vec<crate::incident::Incident>);
    /// What the ledger says of incidents' lives behind entry `after`, oldest first: a part of it,
    /// with the number to ask behind next. None when it has fewer entries: it is another ledger.
    fn incident_changes(&self, after: u64) -> Option<IncidentChanges>;
    /// An incident with what was written about it, in order.
    fn story(&self, id: &str) -> Option<Story>;
    /// Playbooks that were read, good and bad.
    fn playbooks(&self) -> Vec<PlaybookView>;
    /// Plugins that were found.
    fn plugins(&self) -> Vec<PluginView>;
    /// The actions of all live packs.
    fn actions(&self) -> Vec<ActionInfo>;
    /// The kernels of every process.
    fn kernels(&self) -> Vec<crate::status::Kernel>;
    /// What everything uses, at the last look.
    fn measured(&self) -> crate::usage::Measured;
    /// Starts a playbook by hand for a target, or tells what it would do. Blocking.
    ///
    /// # Errors
    /// Why not, for a person.
    fn run_playbook(&self, id: &str, target: &str, dry_run: bool) -> Result<PlaybookRun, String>;
    /// Every declared artifact as it is now. Blocking: each is read.
    ///
    /// # Errors
    /// Why it cannot be told, for a person.
    fn artifacts(&self) -> Result<Vec<ArtifactView>, String>;
    /// Makes the bytes of every declared artifact, or those of one service, the snapshot that
    /// they are held against from now on. Blocking.
    ///
    /// # Errors
    /// Why not, for a person; those before it in the list are snapshotted then.
    fn snapshot_artifacts(
        &self,
        service: Option<&str>,
        by: &str,
    ) -> Result<Vec<ArtifactView>, String>;
    /// The rules, the orders that stand, who holds what, and what is asked.
    fn governance(&self) -> crate::govern::GovernanceView;
    /// Questions, answered ones too as long as they are kept, oldest first.
    fn approvals(&self) -> Vec<crate::govern::Approval>;
    /// Carries out an order of `by` and answers with what holds then. Blocking.
    ///
    /// # Errors
    /// Why not, for a person.
    fn order(
        &self,
        order: &crate::govern::Order,
        by: &str,
        why: &str,
    ) -> Result<crate::govern::GovernanceView, String>;
    /// Answers a question, by its id or its incident's. Blocking.
    ///
    /// # Errors
    /// Why not, for a person.
    fn answer(
        &self,
        id: &str,
        yes: bool,
        by: &str,
        why: &str,
    ) -> Result<crate::govern::Approval, String>;
}

/// A part of the ledger as changes of incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentChanges {
    /// The last entry that was looked at.
    pub seq: u64,
    /// Number of the entry and the incident as it was then: its state, playbook, run, recurrences
    /// and times. What folded findings add (their count) is as it is now.
    pub changes: Vec<(u64, crate::incident::Incident)>,
}

/// An incident and the ledger's entries about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// The incident.
    pub incident: crate::incident::Incident,
    /// What was written about it, oldest first.
    pub entries: Vec<StoryEntry>,
}

/// One ledger entry of a story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryEntry {
    /// Its number in the ledger.
    pub seq: u64,
    /// When.
    pub at: crate::TimestampMs,
    /// What: `finding`, `incident`, `step-started`, `step-done`, ...
    pub kind: String,
    /// The rest.
    pub body: serde_json::Value,
}

/// A playbook as `grace playbook list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaybookView {
    /// Its id; the file's name when it could not be read.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// What it is for.
    pub description: String,
    /// Finding kinds that start it.
    pub triggers: Vec<String>,
    /// `builtin` or a path.
    pub origin: String,
    /// Why it is not used, with file, line and caret.
    pub error: Option<String>,
    /// Runs that ended well.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
}

/// What came of starting a playbook by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "kebab-case")]
pub enum PlaybookRun {
    /// What it would do, a line each.
    Plan {
        /// The lines.
        lines: Vec<String>,
    },
    /// It was started for this incident.
    Started {
        /// The incident.
        incident: String,
    },
}
