//! One group: made, limited, joined, emptied, removed.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Controller, Place, Version};
use crate::error::{OsError, Result};
use crate::pidfd;
use crate::process::{boot_id, stat};
use crate::signal::Signal;

/// The period of processor limits: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// A group: the same name in each of its hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub(super) places: Vec<Place>,
}

impl Group {
    /// Makes the directories `name` below each of these groups; what is there already stays. In
    /// version 2 the controllers are handed down to it first, which the kernel refuses for a
    /// group that has processes of its own, unless it is the root.
    ///
    /// # Errors
    /// [`OsError`]; what was made is removed again.
    pub fn make(below: &[Place], name: &str) -> Result<Self> {
        let mut made = Self { places: Vec::new() };
        for place in below {
            if let Err(error) = make_one(place, name) {
                let _ = made.remove();
                return Err(error);
            }
            made.places.push(place.at(name));
        }
        Ok(made)
    }

    /// A group that is there, as far as it is there.
    #[must_use]
    pub fn existing(places: Vec<Place>) -> Self {
        let places = places.into_iter().filter(|place| place.dir.is_dir());
        Self {
            places: places.collect(),
        }
    }

    /// Its directories.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where it counts or limits this.
    #[must_use]
    pub fn place(&self, controller: Controller) -> Option<&Place> {
        self.places
            .iter()
            .find(|place| place.controllers.contains(&controller))
    }

    /// Files that put whoever writes `0` to them into the group: for a child between fork and
    /// exec.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn open_joins(&self) -> Result<Vec<OwnedFd>> {
        let open = |place: &Place| {
            // A single thread that moves itself needs no lock of the whole machine, which costs
            // some 15 ms; version 1 lets it say so.
            let path = place.dir.join(match place.version {
                Version::V1 => "tasks",
                Version::V2 => "cgroup.procs",
            });
            OpenOptions::new()
                .write(true)
                .open(&path)
                .map(OwnedFd::from)
                .map_err(|source| OsError::new("open", path.display(), source))
        };
        self.places.iter().map(open).collect()
    }

    /// Moves a process with all its threads.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn take(&self, pid: u32) -> Result<()> {
        for place in &self.places {
            set(&place.dir, "cgroup.procs", &pid.to_string())?;
        }
        Ok(())
    }

    /// Limits the memory of all its processes together, swap included.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn limit_memory(&self, bytes: u64) -> Result<()> {
        let place = self.needed(Controller::Memory)?;
        let bytes = bytes.to_string();
        // Where swap is not counted there is none to be limited.
        let optional = |name: &str, value: &str| match set(&place.dir, name, value) {
            Err(error) if error.is_absent() || error.kind() == ErrorKind::PermissionDenied => {
                Ok(())
            }
            other => other,
        };
        match place.version {
            Version::V1 => {
                set(&place.dir, "memory.limit_in_bytes", &bytes)?;
                optional("memory.memsw.limit_in_bytes", &bytes)
            }
            Version::V2 => {
                set(&place.dir, "memory.max", &bytes)?;
                optional("memory.swap.max", "0")
            }
        }
    }

    /// Limits processor time, in thousandths of a core.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn limit_cpu(&self, millicores: u32) -> Result<()> {
        let place = self.needed(Controller::Cpu)?;
        // The kernel takes no quota below a millisecond.
        let quota = (u64::from(millicores) * PERIOD_US / 1_000).max(1_000);
        match place.version {
            Version::V1 => {
                set(&place.dir, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
                set(&place.dir, "cpu.cfs_quota_us", &quota.to_string())
            }
            Version::V2 => set(&place.dir, "cpu.max", &format!("{quota} {PERIOD_US}")),
        }
    }

    /// Limits processes and threads together.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn limit_pids(&self, count: u32) -> Result<()> {
        let place = self.needed(Controller::Pids)?;
        set(&place.dir, "pids.max", &count.to_string())
    }

    fn needed(&self, controller: Controller) -> Result<&Place> {
        self.place(controller).ok_or_else(|| {
            OsError::new(
                "find",
                format_args!("the {} controller", controller.name()),
                rustix::io::Errno::NODEV,
            )
        })
    }

    /// Its processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self
            .places
            .iter()
            .filter_map(|place| fs::read_to_string(place.dir.join("cgroup.procs")).ok())
            .flat_map(|text| {
                text.lines()
                    .filter_map(|line| line.parse().ok())
                    .collect::<Vec<_>>()
            })
            // Of another pid namespace: no number that we could use.
            .filter(|pid| *pid != 0)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Kills all that is in it, also what forks meanwhile. Gives what is still there after
    /// `longest`.
    #[must_use]
    pub fn kill(&self, longest: Duration) -> Vec<u32> {
        if self.pids().is_empty() {
            return Vec::new();
        }
        for place in &self.places {
            if place.version == Version::V2 {
                let _ = set(&place.dir, "cgroup.kill", "1");
            }
        }
        // Whoever cannot fork cannot outrun the loop below.
        let _ = self.limit_pids(0);
        let end = Instant::now().checked_add(longest);
        loop {
            let left: Vec<u32> = self
                .pids()
                .into_iter()
                .filter(|pid| stat(*pid).is_some_and(|stat| !stat.is_gone()))
                .collect();
            let over = end.is_some_and(|end| Instant::now() >= end);
            if left.is_empty() || over {
                return left;
            }
            let handles: Vec<OwnedFd> = left.iter().filter_map(|pid| self.handle(*pid)).collect();
            for handle in &handles {
                let _ = pidfd::send_signal(handle, Signal::Kill);
            }
            for handle in &handles {
                let rest = end.map_or(longest, |end| end.saturating_duration_since(Instant::now()));
                let _ = pidfd::wait_dead(handle, rest);
            }
        }
    }

    /// A handle of a member; its number cannot have become another's.
    fn handle(&self, pid: u32) -> Option<OwnedFd> {
        let id = grace_model::instance::ProcessId {
            pid,
            start_time: stat(pid)?.start_time,
            boot_id: boot_id().to_owned(),
        };
        if !self.pids().contains(&pid) {
            return None;
        }
        pidfd::open_same(&id).ok().flatten()
    }

    /// Removes its directories. Groups inside are removed too when they are empty.
    ///
    /// # Errors
    /// [`OsError`]; EBUSY while there is a process in it.
    pub fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for place in &self.places {
            let done = remove_tree(&place.dir);
            result = result.and(done);
        }
        result
    }
}

fn make_one(place: &Place, name: &str) -> Result<()> {
    if place.version == Version::V2 {
        let wanted: Vec<String> = place
            .controllers
            .iter()
            .filter(|one| **one != Controller::CpuUsed)
            .map(|one| format!("+{}", one.name()))
            .collect();
        if !wanted.is_empty() {
            set(&place.dir, "cgroup.subtree_control", &wanted.join(" "))?;
        }
    }
    let dir = place.dir.join(name);
    match fs::create_dir(&dir) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            Err(OsError::new("mkdir", dir.display(), source))
        }
        _ => Ok(()),
    }
}

fn remove_tree(dir: &Path) -> Result<()> {
    if let Ok(inside) = fs::read_dir(dir) {
        for entry in inside.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path())?;
            }
        }
    }
    match fs::remove_dir(dir) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(OsError::new("rmdir", dir.display(), source))
        }
        _ => Ok(()),
    }
}

fn set(dir: &Path, name: &str, value: &str) -> Result<()> {
    let path = dir.join(name);
    // One write: the kernel reads each as a whole. Never made anew: these are its files.
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| OsError::new("write", path.display(), source))
}
