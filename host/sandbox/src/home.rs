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
    /// Below which processor time is limited, for those that ask. Not for all: a group there
    /// competes as one with each single process outside, so that all instances together would
    /// get no more than any other process of a busy machine.
    cpu: Option<Place>,
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
            cpu: None,
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
            home.take(place);
        }
        home
    }

    fn take(&mut self, below: Place) {
        let limits_cpu = below.controllers.contains(&Controller::Cpu);
        if limits_cpu && below.version == Version::V1 {
            // Tried now, made when somebody asks.
            match Group::make(std::slice::from_ref(&below), &self.name) {
                Ok(tried) => {
                    let _ = tried.remove();
                    // Where both are one hierarchy, time is counted in `/proc` for the others.
                    for controller in &below.controllers {
                        self.missing.remove(controller);
                    }
                    self.cpu = Some(below);
                }
                Err(error) => self.lack(&error, std::slice::from_ref(&below)),
            }
            return;
        }
        let mut plain = below.clone();
        plain.controllers.retain(|one| *one != Controller::Cpu);
        self.make_top(&plain);
        let handed_down = self.tops.iter().any(|top| {
            top.dir.parent() == Some(&below.dir) && top.controllers == plain.controllers
        });
        if limits_cpu && handed_down {
            self.missing.remove(&Controller::Cpu);
            self.cpu = Some(below);
        } else if limits_cpu && let Some(missing) = self.missing.get(&Controller::Memory).cloned() {
            let what = missing_group(Controller::Cpu, "").what;
            self.missing
                .insert(Controller::Cpu, Missing { what, ..missing });
        }
    }

    fn lack(&mut self, error: &OsError, below: &[Place]) {
        let (why, remedy) = why_not(error, below);
        for controller in below.iter().flat_map(|place| &place.controllers) {
            let what = missing_group(*controller, &why).what;
            self.missing
                .insert(*controller, missing(what, &why, &remedy));
        }
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
        if let Err(error) = &made {
            self.lack(error, below);
            let counting: Vec<Place> = below.iter().filter_map(only_counting).collect();
            if !counting.is_empty() {
                made = Group::make(&counting, &self.name);
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
                let all = self.all();
                let place = all
                    .iter()
                    .chain(&self.cpu)
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

    /// Makes the group of one process of an instance, named `shop-1.3`; with `cpu`, where its
    /// processor time can be limited. None where there are no groups at all.
    ///
    /// # Errors
    /// [`OsError`]; then it is not there.
    pub fn make(&self, name: &str, cpu: bool) -> Result<Option<Group>, OsError> {
        let mut tops = self.tops.clone();
        if let Some(below) = self.cpu.as_ref().filter(|_| cpu) {
            let made = Group::make(std::slice::from_ref(below), &self.name)?;
            // In version 2 it is the same directory, with one controller more.
            tops.retain(|top| made.places().iter().all(|one| one.dir != top.dir));
            tops.extend(made.places().iter().cloned());
        }
        if tops.is_empty() {
            return Ok(None);
        }
        Group::make(&tops, name).map(Some)
    }

    /// All directories that hold groups, with that of processor time if anybody asked for it.
    fn all(&self) -> Vec<Place> {
        let mut all = self.tops.clone();
        if let Some(cpu) = &self.cpu {
            let top = cpu.at(&self.name);
            if all.iter().all(|one| one.dir != top.dir) {
                all.push(top);
            }
        }
        all
    }

    /// The group of this name, as far as it is there.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        Group::existing(self.all().iter().map(|top| top.at(name)).collect())
    }

    /// Ends and removes the groups of this state directory that are not in `keep`, also those of
    /// an earlier start elsewhere. Gives their names, and what could not be removed.
    #[must_use]
    pub fn sweep(&self, keep: &[String]) -> (Vec<String>, Vec<OsError>) {
        let mut gone = Vec::new();
        let mut faults = Vec::new();
        let places = self.all().into_iter().map(|top| top.dir);
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
            if !self.all().iter().any(|place| place.dir == top) {
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
        for top in self.all() {
            let _ = fs::remove_dir(&top.dir);
        }
        if let Some(record) = &self.record {
            let _ = fs::remove_file(record);
        }
    }

    /// A group found by its directory alone.
    fn place_of(&self, dir: PathBuf) -> Place {
        let parent = dir.parent().map(Path::to_owned).unwrap_or_default();
        let all = self.all();
        let known = all.iter().find(|top| top.dir == parent);
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
