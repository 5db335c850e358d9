//! What a child is confined by, put on between its fork and its exec: groups, namespaces, mounts,
//! limits, capabilities, Landlock, seccomp. All is laid out before the fork. It decides nothing:
//! what is asked for is done, or the child does not start.

pub mod capability;
mod child;
pub mod landlock;
mod mounts;
pub mod seccomp;

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::user;

pub use capability::Capabilities;
pub use landlock::Landlock;
pub use seccomp::Filter;

/// What a child is confined by. The default is nothing.
#[derive(Debug, Default)]
pub struct Confinement {
    /// The groups it joins, from [`crate::cgroup::Group::open_joins`].
    pub groups: Vec<OwnedFd>,
    /// A user namespace in which it stays who it is. For whoever is not root, without which there
    /// are none of the following.
    pub own_users: bool,
    /// Processes of its own: the child is the first of a namespace, sees no others, and takes all
    /// that is in it with it when it ends.
    pub own_processes: bool,
    /// A network of its own that has nothing but its loopback.
    pub own_network: bool,
    /// A `/tmp` and `/var/tmp` of its own.
    pub own_tmp: Option<OwnTmp>,
    /// Directories and files that it cannot change, with all below them.
    pub read_only: Vec<PathBuf>,
    /// All that it can change; none: no such limit. Devices can be written to all the same.
    pub writable: Option<Vec<PathBuf>>,
    /// No file that it writes grows beyond this. More gets EFBIG and SIGXFSZ.
    pub file_bytes: Option<u64>,
    /// Capabilities that it and its descendants never have.
    pub drop: Capabilities,
    /// Rules on files and signals. Needs no-new-privileges, which is set with it.
    pub landlock: Option<Landlock>,
    /// System calls it cannot make. Needs no-new-privileges, which is set with it.
    pub filter: Option<Filter>,
}

/// A temporary directory that nobody else sees and that is gone with the last process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnTmp {
    /// What both directories hold together; more is "no space left". It counts as memory.
    pub bytes: u64,
    /// What lies below `/tmp` or `/var/tmp` and must be seen all the same.
    pub keep: Vec<PathBuf>,
}

/// What the child was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// Joining its groups.
    Groups = 101,
    /// Making namespaces.
    Namespaces = 102,
    /// Staying who it is in its user namespace.
    Users = 103,
    /// Mounts of its own.
    Mounts = 104,
    /// Its own loopback.
    Network = 105,
    /// The limit on files' sizes.
    FileSize = 106,
    /// Giving up capabilities.
    Capabilities = 107,
    /// Landlock.
    Landlock = 108,
    /// The filter of system calls.
    Filter = 109,
}

impl Step {
    /// All.
    pub const ALL: [Step; 9] = [
        Step::Groups,
        Step::Namespaces,
        Step::Users,
        Step::Mounts,
        Step::Network,
        Step::FileSize,
        Step::Capabilities,
        Step::Landlock,
        Step::Filter,
    ];

    /// As part of a sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Step::Groups => "joining its cgroup",
            Step::Namespaces => "making its namespaces",
            Step::Users => "keeping its user in a user namespace",
            Step::Mounts => "making its mounts",
            Step::Network => "making its own loopback",
            Step::FileSize => "limiting the size of its files",
            Step::Capabilities => "giving up capabilities",
            Step::Landlock => "restricting itself with Landlock",
            Step::Filter => "installing its system call filter",
        }
    }
}

impl Confinement {
    /// Whether it needs mounts of its own.
    #[must_use]
    pub fn own_mounts(&self) -> bool {
        self.own_tmp.is_some()
            || !self.read_only.is_empty()
            || self.writable.is_some()
            || self.own_processes
    }

    /// Lays out all that the child needs.
    ///
    /// # Errors
    /// A path that no system call can take.
    pub(crate) fn prepare(&self) -> Result<Prepared, PathBuf> {
        let mut namespaces = 0;
        for (wanted, flag) in [
            (self.own_users, libc::CLONE_NEWUSER),
            (self.own_network, libc::CLONE_NEWNET),
            (self.own_mounts(), libc::CLONE_NEWNS),
        ] {
            if wanted {
                namespaces |= flag;
            }
        }
        // Only a new process can be the first of a namespace, so these are for the fork itself.
        let mut forks = 0;
        if self.own_processes {
            forks = libc::CLONE_NEWPID | (namespaces & libc::CLONE_NEWUSER);
            namespaces &= !forks;
        }
        let map = |id: u32| format!("{id} {id} 1\n").into_bytes();
        Ok(Prepared {
            groups: self.groups.iter().map(AsRawFd::as_raw_fd).collect(),
            namespaces,
            forks,
            maps: self
                .own_users
                .then(|| (map(user::effective_uid()), map(user::effective_gid()))),
            mounts: mounts::Mounts::prepare(self)?,
            network: self.own_network,
            file_bytes: self.file_bytes,
            drop: self.drop,
            landlock: self.landlock.as_ref().map_or(-1, |rules| rules.as_raw_fd()),
            filter: self.filter.as_ref().map(Filter::program),
        })
    }
}

/// The same for the child: numbers, and memory that it only reads.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    groups: Vec<RawFd>,
    namespaces: libc::c_int,
    /// Those that the child is made in.
    pub(crate) forks: libc::c_int,
    maps: Option<(Vec<u8>, Vec<u8>)>,
    mounts: mounts::Mounts,
    network: bool,
    file_bytes: Option<u64>,
    drop: Capabilities,
    /// -1: none.
    landlock: RawFd,
    filter: Option<Vec<libc::sock_filter>>,
}

fn c_path(path: &Path) -> Result<CString, PathBuf> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| path.to_owned())
}
