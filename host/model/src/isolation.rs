//! How a service's instances are confined: what was asked for. Unset means "what this machine
//! gives, as far as it harms no ordinary program"; what is set is done, or nothing is started.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How much an instance may use. Unset: no limit, but for `pids`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of all its processes together, swap included. More is ended by the kernel.
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of a core.
    pub cpu_millicores: Option<u32>,
    /// Processes and threads together. Unset: 15 % of what the kernel can have, as systemd.
    pub pids: Option<u32>,
    /// Files open at once, for each process.
    pub files: Option<u64>,
    /// Size that a file it writes can grow to.
    pub file_bytes: Option<u64>,
}

/// What an instance can reach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Unset: the machine's.
    pub network: Option<Network>,
    /// Paths that it cannot change, with all below.
    pub read_only: Vec<PathBuf>,
    /// All that it can change, beside its own data directory, temporary directories and
    /// devices. Unset: what its user can.
    pub writable: Option<Vec<PathBuf>>,
    /// Size of a `/tmp` and `/var/tmp` of its own. Unset: the machine's.
    pub private_tmp_bytes: Option<u64>,
    /// Whom it can signal and trace. Unset: only its own processes, where Landlock can.
    pub signals: Option<Signals>,
    /// System calls that are kept from it. Unset: none.
    pub syscalls: Option<Syscalls>,
    /// Capabilities that it never has, by name, or `all`.
    pub drop_capabilities: Vec<String>,
    /// Whether set-uid programs that it runs may gain their privileges. Unset: no.
    pub new_privileges: Option<bool>,
}

/// Which network an instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The machine's.
    Host,
    /// None but a loopback of its own. A listening socket that it inherits works all the same.
    None,
}

/// Whom an instance can signal and trace, as far as its user may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signals {
    /// Its own processes.
    Own,
    /// Anyone.
    Any,
}

/// Which system calls are kept from an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Syscalls {
    /// None.
    All,
    /// Those that change the kernel, mounts, clocks and other processes.
    Service,
}

/// What was done for one process, and what the machine does not give.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// What holds for it, each a few words. Never more than was done.
    pub applied: Vec<String>,
    /// What it runs without.
    pub missing: Vec<Missing>,
}

/// Something that this machine does not give.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Missing {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
    /// How to get it.
    pub remedy: String,
}

impl Report {
    /// What is missing and how to get it, in one line; none when nothing is.
    #[must_use]
    pub fn missing_line(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        let each = self.missing.iter().map(ToString::to_string);
        Some(format!(
            "runs without {}",
            each.collect::<Vec<_>>().join("; without ")
        ))
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({}; to get it: {})",
            self.what, self.why, self.remedy
        )
    }
}
