//! Where the groups of one state directory are made: below the group that this process is in, so
//! that whatever limits Grace limits its instances too. Nothing outside is ever touched.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grace_model::isolation::Missing;
use grace_os::cgroup::{self, Controller, Group, Place, Version};
use grace_os::{OsError, file, user};

use crate::machine::{Given, missing};

/// How long the end of what is left in a group is waited for.
const KILL: Duration = Duration::from_millis(500);

/// The groups of one state directory.
#[derive(Debug)]
pub struct Home {
    name: String,
    /// One a hierarchy.
    tops: Vec<Place>,
    missing: BTreeMap<Controller, Missing>,
    /// Where the directories are written down, because another start may be in another group.
    record: Option<PathBuf>,
    /// Of earlier starts.
    old: Vec<PathBuf>,
}

impl Home {
    /// A home without groups, for machines or tests without.
    #[must_use]
    pub fn none(why: &str) -> Self {
        let missing = Controller::ALL.map(|one| (one, missing_group(one, why)));
        Self {
            name: String::new(),
            tops: Vec::new(),
            missing: missing.into(),
            record: None,
            old: Vec::new(),
        }
    }

    /// Makes the home of the host `host`, a short name that only this state directory has.
    /// `record` is a file that remembers where it was. What cannot be made is missing.
    #[must_use]
    pub fn open(host: &str, record: Option<&Path>) -> Self {
        let mut home = Self::none("it is not mounted, or not shown here");
        home.name = format!("grace-{host}");
        let found = match cgroup::own() {
            Ok(found) => found,
            Err(error) => return Self::none(&error.to_string()),
        };
        // Before anything is made: a kill in between must not hide it from the next one.
        let outer: Vec<Place> = found.into_iter().map(|place| home.base(place)).collect();
        home.remember(record, &outer);
        for place in outer {
            home.make_top(&place);
        }
        home
    }

    /// Where things would be made: not in the group that an earlier start made for Grace itself.
    fn base(&self, place: Place) -> Place {
        let own = self.own_name();
        match place.above() {
            Some(above) if place.dir.ends_with(&own) => above,
            _ => place,
        }
    }

    /// The group that Grace's own processes move to where they would be in the way.
    fn own_name(&self) -> String {
        format!("{}-itself", self.name)
    }

    fn make_top(&mut self, below: &Place) {
        let below = std::slice::from_ref(below);
        let mut made = Group::make(below, &self.name);
        let in_the_way = |error: &OsError| error.kind() == ErrorKind::ResourceBusy;
        if made.as_ref().is_err_and(in_the_way) && self.make_way(below) {
            made = Group::make(below, &self.name);
        }
        // Version 2 counts processor time even where no controller can be handed down.
        let limited = made.as_ref().err().map(|error| why_not(error, below));
        if made.is_err() {
            let counting: Vec<Place> = below.iter().filter_map(only_counting).collect();
            if !counting.is_empty() {
                made = Group::make(&counting, &self.name);
            }
        }
        for controller in below.iter().flat_map(|place| &place.controllers) {
            if let Some((why, remedy)) = &limited {
                let what = missing_group(*controller, why).what;
                self.missing.insert(*controller, missing(what, why, remedy));
            }
        }
        for place in made.iter().flat_map(|group| group.places()) {
            for controller in &place.controllers {
                self.missing.remove(controller);
            }
            self.tops.push(place.clone());
        }
    }

    /// Version 2 hands controllers down only from a group without processes. If all that are in
    /// it are Grace's own, they move to a group beside.
    fn make_way(&self, below: &[Place]) -> bool {
        let Ok(own) = fs::read_link("/proc/self/exe") else {
            return false;
        };
        let is_own =
            |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own);
        let inside = Group::existing(below.to_vec()).pids();
        if inside.is_empty() || !inside.iter().all(is_own) {
            return false;
        }
        let plain: Vec<Place> = below.iter().filter_map(only_counting).collect();
        let Ok(itself) = Group::make(&plain, &self.own_name()) else {
            return false;
        };
        // Some may have ended meanwhile, and that is as good.
        inside.iter().all(|pid| match itself.take(*pid) {
            Err(error) => error.is_absent(),
            Ok(()) => true,
        })
    }

    /// Whether groups here can count or limit this.
    pub(crate) fn given(&self, controller: Controller) -> Given {
        match self.missing.get(&controller) {
            Some(missing) => Err(missing.clone()),
            None => {
                let place = self
                    .tops
                    .iter()
                    .find(|top| top.controllers.contains(&controller));
                let found = place.map(|place| {
                    let version = match place.version {
                        Version::V1 => "v1",
                        Version::V2 => "v2",
                    };
                    format!("{version}, in {}", place.dir.display())
                });
                Ok(found.unwrap_or_default())
            }
        }
    }

    /// Makes the group of one process of an instance, named `shop-1.3`. None where there are
    /// no groups at all.
    ///
    /// # Errors
    /// [`OsError`]; then it is not there.
    pub fn make(&self, name: &str) -> Result<Option<Group>, OsError> {
        if self.tops.is_empty() {
            return Ok(None);
        }
        Group::make(&self.tops, name).map(Some)
    }

    /// The group of this name, as far as it is there.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        Group::existing(self.tops.iter().map(|top| top.at(name)).collect())
    }

    /// Ends and removes the groups of this state directory that are not in `keep`, also those of
    /// an earlier start elsewhere. Gives their names, and what could not be removed.
    #[must_use]
    pub fn sweep(&self, keep: &[String]) -> (Vec<String>, Vec<OsError>) {
        let mut gone = Vec::new();
        let mut faults = Vec::new();
        let places = self.tops.iter().map(|top| top.dir.clone());
        let mut tops: Vec<PathBuf> = places.chain(self.old.iter().cloned()).collect();
        tops.sort_unstable();
        tops.dedup();
        for top in tops {
            let inside = fs::read_dir(&top).into_iter().flatten().flatten();
            for entry in inside.filter(|entry| entry.path().is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if keep.contains(&name) {
                    continue;
                }
                match end(&self.place_of(entry.path())) {
                    Ok(()) => gone.push(name),
                    Err(error) => faults.push(error),
                }
            }
            // One of an earlier start is over when nothing is in it.
            if !self.tops.iter().any(|place| place.dir == top) {
                let _ = fs::remove_dir(&top);
            }
        }
        gone.sort_unstable();
        gone.dedup();
        (gone, faults)
    }

    /// Removes everything, after the last instance.
    pub fn close(&self) {
        let _ = self.sweep(&[]);
        for top in &self.tops {
            let _ = fs::remove_dir(&top.dir);
        }
        if let Some(record) = &self.record {
            let _ = fs::remove_file(record);
        }
    }

    /// A group found by its directory alone.
    fn place_of(&self, dir: PathBuf) -> Place {
        let parent = dir.parent().map(Path::to_owned).unwrap_or_default();
        let known = self.tops.iter().find(|top| top.dir == parent);
        Place {
            version: known.map_or_else(
                || {
                    if dir.join("cgroup.kill").exists() {
                        Version::V2
                    } else {
                        Version::V1
                    }
                },
                |top| top.version,
            ),
            controllers: known.map_or_else(Vec::new, |top| top.controllers.clone()),
            dir,
        }
    }

    fn remember(&mut self, record: Option<&Path>, below: &[Place]) {
        let Some(record) = record else { return };
        let before = fs::read(record).unwrap_or_default();
        let before: Vec<PathBuf> = serde_json::from_slice(&before).unwrap_or_default();
        // Only what is named as ours: the file may be damaged.
        let ours = before.into_iter().filter(|dir| dir.ends_with(&self.name));
        let mut all: Vec<PathBuf> = ours.filter(|dir| dir.is_dir()).collect();
        self.old.clone_from(&all);
        all.extend(below.iter().map(|place| place.dir.join(&self.name)));
        all.sort_unstable();
        all.dedup();
        let text = serde_json::to_vec(&all).unwrap_or_default();
        if file::write_atomic(record, &text, 0o600).is_ok() {
            self.record = Some(record.to_owned());
        }
    }
}

/// Ends what is in a group and removes it.
fn end(place: &Place) -> Result<(), OsError> {
    let group = Group::existing(vec![place.clone()]);
    let _ = group.kill(KILL);
    group.remove()
}

fn only_counting(place: &Place) -> Option<Place> {
    (place.version == Version::V2).then(|| Place {
        controllers: vec![Controller::CpuUsed],
        ..place.clone()
    })
}

fn missing_group(controller: Controller, why: &str) -> Missing {
    let what = match controller {
        Controller::Memory => "a cgroup's memory limit and its own count of out-of-memory kills",
        Controller::Cpu => "a cgroup's processor limit",
        Controller::CpuUsed => "a cgroup's account of processor time",
        Controller::Pids => "a cgroup's limit on processes",
    };
    let remedy = format!(
        "mount the {} controller, see cgroups(7), or use a kernel that has it",
        controller.name()
    );
    missing(what, why, remedy)
}

/// Why a group could not be made, and what to do.
fn why_not(error: &OsError, below: &[Place]) -> (String, String) {
    let dir = below
        .first()
        .map(|place| place.dir.display().to_string())
        .unwrap_or_default();
    let v2 = below.iter().any(|place| place.version == Version::V2);
    let remedy = match error.kind() {
        ErrorKind::ResourceBusy => format!(
            "there are other processes in {dir}: start `grace` in a group of its own, as a systemd \
             unit with Delegate=yes, or by: systemd-run --scope -p Delegate=yes grace up"
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if user::is_root() => {
            format!("make {dir} writable: in a container, mount /sys/fs/cgroup read-write")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if v2 => {
            "start `grace` where this user owns the group: as a systemd user unit with \
             Delegate=yes, or by: systemd-run --user --scope -p Delegate=yes grace up"
                .to_owned()
        }
        _ => format!(
            "run `grace` as root, or have root give this user a group: mkdir {dir}/{0} && chown -R \
             {0} {dir}/{0}, and start `grace` in it",
            user::name_of(user::effective_uid())
        ),
    };
    (error.to_string(), remedy)
}
