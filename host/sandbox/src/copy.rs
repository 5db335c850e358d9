//! What a copy of an instance is shut into: its own processes, network, mounts and `/tmp`, and a
//! machine that it cannot change. All of it or no copy.

use std::path::PathBuf;

use grace_model::isolation::Missing;
use grace_os::confine::{Confinement, OwnTmp};
use grace_os::user;

use crate::apply::outermost;
use crate::machine::Machine;

/// For the first process of a copy.
#[derive(Debug)]
pub struct Shell {
    /// For its spawn.
    pub confinement: Confinement,
    /// What holds for it, each a few words.
    pub applied: Vec<String>,
}

/// A shell with a `/tmp` of `scratch` bytes. `keep` is what must be seen below `/tmp` all the
/// same; it cannot be changed either. Nothing is left of it once its last process has ended.
///
/// # Errors
/// What this machine does not give.
pub fn shell(machine: &Machine, keep: &[PathBuf], scratch: u64) -> Result<Shell, Missing> {
    for given in [machine.mounts(), machine.network(), machine.processes()] {
        given.clone()?;
    }
    let keep = outermost(keep.to_vec());
    let below_tmp = |path: &&PathBuf| path.starts_with("/tmp") || path.starts_with("/var/tmp");
    Ok(Shell {
        confinement: Confinement {
            own_users: !user::is_root(),
            own_network: true,
            own_processes: true,
            read_only: keep.iter().filter(below_tmp).cloned().collect(),
            own_tmp: Some(OwnTmp {
                bytes: scratch,
                keep,
            }),
            writable: Some(Vec::new()),
            ..Confinement::default()
        },
        applied: [
            "its own processes, which end with the first of them",
            "no network but its own loopback",
            "a machine that it cannot change",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("its own /tmp of at most {scratch} bytes")])
        .collect(),
    })
}

/// Whether calls that change the kernel or other processes can be kept from a copy.
#[must_use]
pub fn filters(machine: &Machine) -> bool {
    machine.filters().is_ok()
}
