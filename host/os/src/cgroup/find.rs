//! Where a process is: `/proc/PID/cgroup` joined with the mounts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Controller, Place, Version};
use crate::error::{OsError, Result};

/// The groups of this process, one for each mounted hierarchy that can count or limit something.
///
/// # Errors
/// [`OsError`] when `/proc` does not tell.
pub fn own() -> Result<Vec<Place>> {
    of_process(std::process::id())
}

/// The groups of a process, as this process sees their directories.
///
/// # Errors
/// [`OsError`] when `/proc` does not tell, or there is no such process.
pub fn of_process(pid: u32) -> Result<Vec<Place>> {
    let read = |path: String| {
        fs::read_to_string(&path).map_err(|source| OsError::new("read", &path, source))
    };
    let groups = read(format!("/proc/{pid}/cgroup"))?;
    let mounts = read("/proc/self/mountinfo".to_owned())?;
    Ok(places(&groups, &mounts, |dir| {
        fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default()
    }))
}

/// One mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The group that is shown at `at`.
    root: PathBuf,
    at: PathBuf,
    version: Version,
    /// Of version 1: what it is mounted with.
    options: Vec<String>,
}

fn places(groups: &str, mounts: &str, in_v2: impl Fn(&Path) -> String) -> Vec<Place> {
    let mounts: Vec<Mount> = mounts.lines().filter_map(mount).collect();
    let mut found: BTreeMap<PathBuf, Place> = BTreeMap::new();
    for line in groups.lines() {
        // `4:memory:/shop`, and of version 2 `0::/shop`. A path may hold colons.
        let mut words = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        let fits = |mount: &&Mount| match mount.version {
            Version::V2 => names.is_empty(),
            Version::V1 => {
                !names.is_empty()
                    && names
                        .iter()
                        .all(|name| mount.options.iter().any(|option| option == name))
            }
        };
        // The same hierarchy may be mounted twice: the one that shows this group counts.
        let Some((mount, inside)) = mounts.iter().filter(fits).find_map(|mount| {
            let inside = Path::new(path).strip_prefix(&mount.root).ok()?;
            Some((mount, inside))
        }) else {
            continue;
        };
        let dir = if inside.as_os_str().is_empty() {
            mount.at.clone()
        } else {
            mount.at.join(inside)
        };
        let there: Vec<String> = match mount.version {
            Version::V1 => mount.options.clone(),
            Version::V2 => {
                let mut all: Vec<String> = in_v2(&dir).split_whitespace().map(Into::into).collect();
                // Every group of version 2 counts its processor time.
                all.push(Controller::CpuUsed.name().to_owned());
                all
            }
        };
        let controllers: Vec<Controller> = Controller::ALL
            .into_iter()
            .filter(|one| there.iter().any(|name| name == one.name()))
            .collect();
        if !controllers.is_empty() {
            found.entry(dir.clone()).or_insert(Place {
                version: mount.version,
                dir,
                controllers,
            });
        }
    }
    let mut all: Vec<Place> = found.into_values().collect();
    // What version 1 counts, it counts alone: the rest of a mixed machine is version 2's.
    let counted_by_v1 = all.iter().any(|place| {
        place.version == Version::V1 && place.controllers.contains(&Controller::CpuUsed)
    });
    if counted_by_v1 {
        all.retain(|place| {
            place.version == Version::V1 || place.controllers != [Controller::CpuUsed]
        });
    }
    all.sort_by_key(|place| place.controllers.first().copied());
    all
}

/// `36 35 0:30 /inside /mnt rw - cgroup cgroup rw,memory`, with any number of words before the
/// dash.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let version = match after.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = after.nth(1).unwrap_or_default();
    let mut before = before.split(' ').skip(3);
    Some(Mount {
        root: unescape(before.next()?),
        at: unescape(before.next()?),
        version,
        options: options.split(',').map(Into::into).collect(),
    })
}

/// Space, tab, newline and backslash are written as `\040` and so on.
fn unescape(text: &str) -> PathBuf {
    let codes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let text = codes.iter().fold(text.to_owned(), |text, (code, sign)| {
        text.replace(code, sign)
    });
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
29 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn version_1_has_a_place_for_each_controller_and_none_for_a_named_hierarchy() {
        let groups = "4:memory:/box/a:b\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";
        let found = places(groups, V1, |_| "hugetlb".to_owned());
        let at = |path: &str, controllers: &[Controller]| Place {
            version: Version::V1,
            dir: path.into(),
            controllers: controllers.to_vec(),
        };
        assert_eq!(
            found,
            [
                at("/sys/fs/cgroup/memory/box/a:b", &[Controller::Memory]),
                at(
                    "/sys/fs/cgroup/cpu,cpuacct",
                    &[Controller::Cpu, Controller::CpuUsed]
                ),
            ]
        );
    }

    #[test]
    fn version_2_has_one_place_with_what_was_given_to_it() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = places("0::/user.slice/grace\n", mounts, |dir| {
            assert_eq!(dir, Path::new("/sys/fs/cgroup/user.slice/grace"));
            "cpu memory pids".to_owned()
        });
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].controllers, Controller::ALL);
        assert_eq!(found[0].version, Version::V2);
    }

    #[test]
    fn a_container_that_is_shown_only_its_own_part_is_found_in_it() {
        let mounts = "30 1 0:26 /box/7 /sys/fs/cgroup\\040x rw - cgroup cgroup rw,pids\n";
        let found = places("5:pids:/box/7/in\n", mounts, |_| String::new());
        assert_eq!(found[0].dir, Path::new("/sys/fs/cgroup x/in"));
        // One that is not shown at all is not made up.
        assert_eq!(places("5:pids:/other\n", mounts, |_| String::new()), []);
        assert_eq!(places("5:pids:/box/7\n", "", |_| String::new()), []);
    }

    #[test]
    fn this_machine_can_be_read() {
        for place in own().unwrap() {
            assert!(place.dir.join("cgroup.procs").exists(), "{place:?}");
        }
    }
}
