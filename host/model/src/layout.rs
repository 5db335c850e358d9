//! Where things are in a state directory. The only place that knows.

use std::path::{Path, PathBuf};

use crate::id::InstanceId;

/// Version of the layout; a directory of a later one is refused, one of an earlier one migrated.
/// 1 kept numbers of instances where 2 keeps fleets with roles and versions.
pub const STATE_VERSION: u32 = 2;

/// Paths in one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`, which must be absolute.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    /// The state directory itself, 0700.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The layout's version, a number in text.
    #[must_use]
    pub fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }
    /// The resolved configuration, JSON.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }
    /// Grants given by `grace plugin grant`, TOML: `NAME = ["CAP", ...]`.
    #[must_use]
    pub fn grants(&self) -> PathBuf {
        self.root.join("grants.toml")
    }
    /// Sockets and locks, 0700.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
    /// Faults that are induced on purpose, a record each, and the detours of traffic.
    #[must_use]
    pub fn chaos(&self) -> PathBuf {
        self.run().join("chaos")
    }
    /// The supervisor's socket, see [`crate::ipc`].
    #[must_use]
    pub fn supervisor_socket(&self) -> PathBuf {
        self.run().join("supervisor.sock")
    }
    /// The proxy's socket: gives its listening sockets to an adopting host.
    #[must_use]
    pub fn proxy_socket(&self) -> PathBuf {
        self.run().join("proxy.sock")
    }
    /// HTTP + JSON for the CLI and `curl --unix-socket`.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.run().join("api.sock")
    }
    /// Locked by the living supervisor.
    #[must_use]
    pub fn supervisor_lock(&self) -> PathBuf {
        self.run().join("supervisor.lock")
    }
    /// Locked by the living keeper.
    #[must_use]
    pub fn keeper_lock(&self) -> PathBuf {
        self.run().join("keeper.lock")
    }
    /// Locked by a `grace up` that stays in front.
    #[must_use]
    pub fn front_lock(&self) -> PathBuf {
        self.run().join("front.lock")
    }
    /// Which file Grace's processes are started from, JSON; only while an upgrade chose one.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.run().join("program.json")
    }
    /// Locked by a `grace upgrade` that is under way.
    #[must_use]
    pub fn upgrade_lock(&self) -> PathBuf {
        self.run().join("upgrade.lock")
    }
    /// Programs that an upgrade keeps, because their files were replaced while they ran.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }
    /// An instance's `$NOTIFY_SOCKET`.
    #[must_use]
    pub fn notify_socket(&self, instance: &InstanceId) -> PathBuf {
        self.run().join("notify").join(format!("{instance}.sock"))
    }
    /// An instance's output FIFO.
    #[must_use]
    pub fn fifo(&self, instance: &InstanceId) -> PathBuf {
        self.run().join("output").join(instance.as_str())
    }
    /// Logs of instances (`shop-1.log`, `.1`, ...) and of Grace itself (`grace.log`).
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
    /// The current log of an instance.
    #[must_use]
    pub fn log(&self, instance: &InstanceId) -> PathBuf {
        self.logs().join(format!("{instance}.log"))
    }
    /// An instance's data directory, its own to write.
    #[must_use]
    pub fn data(&self, instance: &InstanceId) -> PathBuf {
        self.root.join("data").join(instance.as_str())
    }
    /// A process's journal directory.
    #[must_use]
    pub fn journal(&self, process: &str) -> PathBuf {
        self.root.join("journal").join(process)
    }
    /// The ledger's database.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.db")
    }
    /// Precompiled components, private.
    #[must_use]
    pub fn compiled(&self) -> PathBuf {
        self.root.join("cache").join("components")
    }
    /// Capsules of failures, raw and 0600, with what they are made from.
    #[must_use]
    pub fn capsules(&self) -> PathBuf {
        self.root.join("capsules")
    }
    /// Recordings that the proxy handed over and nobody has made a capsule of yet.
    #[must_use]
    pub fn recordings(&self) -> PathBuf {
        self.capsules().join("recordings")
    }
    /// Copies of data directories that capsules refer to.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.capsules().join("snapshots")
    }
    /// Last good copies of configuration files, and replaced bytes, by hash.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }
}
