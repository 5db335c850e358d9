//! Control groups, version 1 and 2, as files: where this process is, groups below, their limits
//! and counters. It decides no limit, and touches only directories it was told to make.

mod find;
mod group;
mod read;

use std::path::{Path, PathBuf};

pub use find::{of_process, own};
pub use group::Group;
pub use read::Memory;

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// A hierarchy a controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// What a group can count or limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Memory of all its processes together.
    Memory,
    /// Processor time a period.
    Cpu,
    /// Processor time used. Version 2 counts it in every group.
    CpuUsed,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// All.
    pub const ALL: [Controller; 4] = [
        Controller::Memory,
        Controller::Cpu,
        Controller::CpuUsed,
        Controller::Pids,
    ];

    /// As the kernel names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::CpuUsed => "cpuacct",
            Controller::Pids => "pids",
        }
    }
}

/// One hierarchy, and where a process is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its interface.
    pub version: Version,
    /// The process's group there.
    pub dir: PathBuf,
    /// What it can count or limit, of what this crate knows.
    pub controllers: Vec<Controller>,
}

impl Place {
    /// The same hierarchy, another group.
    #[must_use]
    pub fn at(&self, dir: impl AsRef<Path>) -> Self {
        Self {
            dir: self.dir.join(dir),
            ..self.clone()
        }
    }

    /// The group that holds this one.
    #[must_use]
    pub fn above(&self) -> Option<Self> {
        let dir = self.dir.parent()?.to_owned();
        Some(Self {
            dir,
            ..self.clone()
        })
    }
}
