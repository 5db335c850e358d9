//! What a short command gets that runs over a directory of its own, such as the tests of a
//! candidate repair: no network, no place to write but that directory and a `/tmp` of its own,
//! limits on memory and processes. Nothing here was asked for by a service, so what this machine
//! does not give is reported and not an error.

use std::path::PathBuf;

use grace_model::isolation::Missing;
use grace_os::cgroup::Group;
use grace_os::confine::{Capabilities, Confinement, Filter, Landlock, OwnTmp, landlock};
use grace_os::user;

use crate::home::Home;
use crate::machine::{Machine, missing};

/// What the command may use.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The name of its group.
    pub name: String,
    /// The directories that it may change; they may lie below `/tmp`.
    pub writable: Vec<PathBuf>,
    /// What else below `/tmp` it must see.
    pub keep: Vec<PathBuf>,
    /// What its `/tmp` holds at most, in bytes.
    pub tmp_bytes: u64,
    /// Memory of all its processes together, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// The size of one file, in bytes.
    pub file_bytes: u64,
}

/// What it got.
#[derive(Debug, Default)]
pub struct Confined {
    /// For the spawn, but for the group: each child needs [`Group::open_joins`] of its own.
    pub confinement: Confinement,
    /// Its group, if there are any: to be emptied after the command and removed at the end.
    pub group: Option<Group>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

impl Errand {
    /// Lays out the confinement. Mounts and namespaces are tried once a [`Machine`].
    #[must_use]
    pub fn confine(&self, machine: &Machine, home: &Home) -> Confined {
        let mut out = Confined::default();
        let mut lack = Vec::new();
        let confinement = &mut out.confinement;
        confinement.file_bytes = Some(self.file_bytes);
        match machine.network() {
            Ok(_) => confinement.own_network = true,
            Err(missing) => lack.push(missing.clone()),
        }
        let signals = machine.signals().is_ok();
        match machine.mounts() {
            Ok(_) => {
                let keep = self.writable.iter().chain(&self.keep).cloned().collect();
                confinement.own_tmp = Some(OwnTmp {
                    bytes: self.tmp_bytes,
                    keep: crate::apply::outermost(keep),
                });
                let shared = PathBuf::from("/dev/shm");
                let shared = Some(shared).filter(|dir| dir.is_dir());
                confinement.writable = Some(self.writable.iter().cloned().chain(shared).collect());
            }
            Err(missing) => lack.push(missing.clone()),
        }
        if signals
            && let Ok(rules) = Landlock::new(&landlock::Rules {
                keep_signals: true,
                writable: None,
                files: &[],
            })
        {
            confinement.landlock = Some(rules);
        }
        match machine.filters() {
            Ok(_) => confinement.filter = Some(Filter::kernel()),
            Err(missing) => lack.push(missing.clone()),
        }
        if user::is_root() {
            confinement.drop = Capabilities::all();
        } else {
            confinement.own_users = confinement.own_network || confinement.own_mounts();
        }
        match home.make(&self.name, false) {
            Ok(Some(group)) => {
                let limited = group
                    .limit_memory(self.memory_bytes)
                    .and_then(|()| group.limit_pids(self.pids));
                if let Err(error) = limited {
                    lack.push(missing("limits on memory and processes", error, REMEDY));
                }
                out.group = Some(group);
            }
            Ok(None) => lack.push(missing("a cgroup", "there are none here", REMEDY)),
            Err(error) => lack.push(missing("a cgroup", error, REMEDY)),
        }
        out.missing = lack;
        out
    }
}

const REMEDY: &str = "look at the cgroup file system, see `grace doctor`";
