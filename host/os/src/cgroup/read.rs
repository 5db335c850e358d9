//! What a group has used, and what stopped it.

use std::fs;
use std::path::Path;

use super::{Controller, Group, Place, Version};

/// Beyond this, version 1 means "no limit".
const NO_LIMIT: u64 = 1 << 60;

/// The memory of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// In use, without what the kernel could take back at once (cached files).
    pub used_bytes: u64,
    /// The least of its own limit and those above it; none when there is none.
    pub limit_bytes: Option<u64>,
    /// Processes of it that the out-of-memory killer has ended.
    pub oom_kills: u64,
}

impl Group {
    /// Its memory; none where memory is not counted.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let place = self.place(Controller::Memory)?;
        let dir = &place.dir;
        Some(match place.version {
            Version::V1 => {
                let stat = fs::read_to_string(dir.join("memory.stat")).ok()?;
                let limit = field(&stat, "hierarchical_memory_limit");
                Memory {
                    used_bytes: number(&dir.join("memory.usage_in_bytes"))?
                        .saturating_sub(field(&stat, "total_inactive_file").unwrap_or(0)),
                    limit_bytes: limit.filter(|limit| *limit < NO_LIMIT),
                    oom_kills: self.oom_kills().unwrap_or(0),
                }
            }
            Version::V2 => {
                let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
                Memory {
                    used_bytes: number(&dir.join("memory.current"))?
                        .saturating_sub(field(&stat, "inactive_file").unwrap_or(0)),
                    limit_bytes: least_limit(place),
                    oom_kills: self.oom_kills().unwrap_or(0),
                }
            }
        })
    }

    /// Processes of it that the out-of-memory killer has ended; none where that is not counted.
    #[must_use]
    pub fn oom_kills(&self) -> Option<u64> {
        let place = self.place(Controller::Memory)?;
        let name = match place.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(place.dir.join(name)).ok()?;
        field(&text, "oom_kill")
    }

    /// Processor time of all that was ever in it, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> Option<u64> {
        let place = self.place(Controller::CpuUsed)?;
        match place.version {
            Version::V1 => number(&place.dir.join("cpuacct.usage")).map(|ns| ns / 1_000),
            Version::V2 => {
                let text = fs::read_to_string(place.dir.join("cpu.stat")).ok()?;
                field(&text, "usage_usec")
            }
        }
    }

    /// Processes and threads in it.
    #[must_use]
    pub fn tasks(&self) -> Option<u64> {
        number(&self.place(Controller::Pids)?.dir.join("pids.current"))
    }

    /// The limit on processes and threads.
    #[must_use]
    pub fn tasks_limit(&self) -> Option<u64> {
        // `max` is no number: no limit.
        number(&self.place(Controller::Pids)?.dir.join("pids.max"))
    }
}

/// Version 2 tells only a group's own limit.
fn least_limit(place: &Place) -> Option<u64> {
    let mut least = None;
    let mut dir = Some(place.dir.as_path());
    while let Some(here) = dir.filter(|here| here.join("cgroup.procs").exists()) {
        let limit = number(&here.join("memory.max"));
        least = [least, limit].into_iter().flatten().min();
        dir = here.parent();
    }
    least
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(dir: &Path, version: Version) -> Group {
        Group {
            places: vec![Place {
                version,
                dir: dir.to_owned(),
                controllers: Controller::ALL.to_vec(),
            }],
        }
    }

    /// The file formats are the kernel's (Documentation/admin-guide/cgroup-v2.rst).
    #[test]
    fn version_2_is_read_and_written_as_the_kernel_has_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("in");
        fs::create_dir(&dir).unwrap();
        for (file, text) in [
            ("cgroup.procs", ""),
            ("memory.current", "5000\n"),
            ("memory.stat", "anon 1000\ninactive_file 3000\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            (
                "memory.events",
                "low 0\noom 2\noom_kill 1\noom_group_kill 0\n",
            ),
            ("cpu.stat", "usage_usec 77\nuser_usec 70\n"),
            ("cpu.max", "max 100000\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        fs::write(root.path().join("memory.max"), "9000\n").unwrap();
        let group = group(&dir, Version::V2);
        assert_eq!(
            group.memory(),
            Some(Memory {
                used_bytes: 2000,
                limit_bytes: Some(9000),
                oom_kills: 1
            })
        );
        assert_eq!((group.cpu_us(), group.tasks()), (Some(77), Some(3)));
        assert_eq!(group.tasks_limit(), None);
        group.limit_memory(4096).unwrap();
        group.limit_cpu(1_500).unwrap();
        group.limit_pids(64).unwrap();
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        // A file shows what is left of it behind a shorter text; the kernel's do not.
        assert!(read("memory.max").starts_with("4096"));
        assert!(read("memory.swap.max").starts_with('0'));
        assert_eq!(read("cpu.max"), "150000 100000");
        assert!(read("pids.max").starts_with("64"));
    }

    #[test]
    fn a_limit_without_its_controller_is_an_error_and_no_file_is_made() {
        let root = tempfile::tempdir().unwrap();
        let mut group = group(root.path(), Version::V2);
        assert!(group.limit_memory(1).unwrap_err().is_absent());
        group.places[0].controllers.clear();
        let error = group.limit_pids(1).unwrap_err();
        assert!(error.to_string().contains("pids controller"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
