//! From what a service asks to what its child gets. What was asked for and cannot be had is an
//! error; what was not asked for and cannot be had is in the report.

use std::path::{Path, PathBuf};

use grace_model::config::Service;
use grace_model::isolation::{Missing, Network, Report, Signals, Syscalls};
use grace_os::cgroup::{Controller, Group};
use grace_os::confine::{Capabilities, Confinement, Filter, Landlock, OwnTmp, landlock};
use grace_os::limit::{self, OpenFiles};
use grace_os::user;

use crate::home::Home;
use crate::machine::{Given, Machine, missing};

/// What a service without `limits.pids` may have, in percent of what the kernel can, as
/// systemd's DefaultTasksMax: enough for every ordinary program, too little to fill the machine.
const PIDS_PERCENT: u64 = 15;

/// Where every program may write.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// One process to be.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The name of its group: `shop-1.3`.
    pub group: &'a str,
    /// Its own directory.
    pub data: &'a Path,
    /// Files and directories that it must see and use in any case: its program, its working
    /// directory, sockets, output.
    pub needs: &'a [PathBuf],
    /// Of these, the files that it writes to.
    pub writes: &'a [PathBuf],
}

/// What a service asks for and this machine does not give.
#[derive(Debug, thiserror::Error)]
#[error("service {service} asks for `{key}`, which cannot be had here: {why}; {remedy}")]
pub struct Refused {
    /// The service.
    pub service: String,
    /// The key in its configuration.
    pub key: &'static str,
    /// Why not.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

/// All that a child gets.
#[derive(Debug, Default)]
pub struct Prepared {
    /// For the spawn.
    pub confinement: Confinement,
    /// For the spawn; none: as inherited.
    pub open_files: Option<OpenFiles>,
    /// For the spawn.
    pub no_new_privileges: bool,
    /// Its group, if there are any. To be removed when it does not start.
    pub group: Option<Group>,
    /// Whether anything was asked for. If nothing was, a process that cannot start like this may
    /// start without.
    pub asked: bool,
    /// True once the child has started.
    pub report: Report,
}

/// Prepares what `service` asks for.
///
/// # Errors
/// [`Refused`]; no group is left then.
pub fn prepare(
    service: &Service,
    target: &Target<'_>,
    machine: &Machine,
    home: &Home,
) -> Result<Prepared, Refused> {
    let mut work = Work {
        service,
        target,
        machine,
        out: Prepared::default(),
    };
    let done = work.all(home);
    match done {
        Ok(()) => Ok(work.out),
        Err(refused) => {
            if let Some(group) = &work.out.group {
                let _ = group.remove();
            }
            Err(refused)
        }
    }
}

struct Work<'a> {
    service: &'a Service,
    target: &'a Target<'a>,
    machine: &'a Machine,
    out: Prepared,
}

impl Work<'_> {
    fn all(&mut self, home: &Home) -> Result<(), Refused> {
        let limits = &self.service.limits;
        let isolation = &self.service.isolation;
        self.out.asked = *limits != Default::default() || *isolation != Default::default();
        self.group(home)?;
        self.files()?;
        self.privileges()?;
        self.network()?;
        self.mounts()?;
        self.rules()?;
        self.calls()
    }

    fn group(&mut self, home: &Home) -> Result<(), Refused> {
        let cpu = self.service.limits.cpu_millicores.is_some();
        let made = home
            .make(self.target.group, cpu)
            .map_err(|error| error.to_string());
        let limits = self.service.limits.clone();
        let group = made.unwrap_or_else(|why| {
            let remedy = "look at the cgroup file system, see `grace doctor`";
            self.lack(missing("a cgroup of its own", why, remedy));
            None
        });
        self.out.group.clone_from(&group);
        let has = |controller: Controller| -> Given {
            home.given(controller)?;
            match &group {
                Some(_) => Ok(String::new()),
                None => Err(missing(
                    "a cgroup",
                    "it could not be made",
                    "see `grace doctor`",
                )),
            }
        };
        let mut own = Vec::new();
        for (controller, word) in [
            (Controller::Memory, "memory"),
            (Controller::CpuUsed, "processor time"),
        ] {
            match has(controller) {
                // Processor time may be counted only where it is limited too.
                Ok(_)
                    if group
                        .as_ref()
                        .is_some_and(|it| it.place(controller).is_some()) =>
                {
                    own.push(word);
                }
                Ok(_) => {}
                Err(missing) => self.lack(missing),
            }
        }
        if !own.is_empty() {
            self.did(format!("its own cgroup counts its {}", own.join(" and ")));
        }
        let set = |what: Result<(), grace_os::OsError>| what.map_err(|error| error.to_string());
        if let Some(bytes) = limits.memory_bytes {
            self.need("limits.memory", &has(Controller::Memory))?;
            let done = group
                .as_ref()
                .map_or(Ok(()), |g| set(g.limit_memory(bytes)));
            self.strictly("limits.memory", done)?;
            self.did(format!("memory at most {bytes} bytes"));
        }
        if let Some(millicores) = limits.cpu_millicores {
            self.need("limits.cpu", &has(Controller::Cpu))?;
            let done = group
                .as_ref()
                .map_or(Ok(()), |g| set(g.limit_cpu(millicores)));
            self.strictly("limits.cpu", done)?;
            self.did(format!(
                "processor at most {millicores} thousandths of a core"
            ));
        }
        let pids = has(Controller::Pids);
        if let Some(count) = limits.pids {
            self.need("limits.pids", &pids)?;
            let done = group.as_ref().map_or(Ok(()), |g| set(g.limit_pids(count)));
            self.strictly("limits.pids", done)?;
            self.did(format!("processes and threads at most {count}"));
        } else {
            match (pids, &group) {
                (Ok(_), Some(group)) => {
                    let count = usual_pids();
                    match group.limit_pids(count) {
                        Ok(()) => self.did(format!("processes and threads at most {count}")),
                        Err(error) => self.lack(missing(
                            "a limit on processes",
                            error,
                            "look at the cgroup file system, see `grace doctor`",
                        )),
                    }
                }
                (Err(missing), _) => self.lack(missing),
                (Ok(_), None) => {}
            }
        }
        if let Some(group) = &group {
            match group.open_joins() {
                Ok(joins) => self.out.confinement.groups = joins,
                Err(error) => return Err(self.refused("limits", error, "see `grace doctor`")),
            }
        }
        Ok(())
    }

    fn files(&mut self) -> Result<(), Refused> {
        let limits = &self.service.limits;
        if let Some(count) = limits.files {
            let most = limit::open_files().hard;
            if count > most && !user::is_root() {
                let why = format!("this user may open {most} files at most");
                let remedy = "ask for less, or have root raise it in /etc/security/limits.conf";
                return Err(self.refused("limits.files", why, remedy));
            }
            self.out.open_files = Some(OpenFiles {
                soft: count,
                hard: count,
            });
            self.did(format!("open files at most {count} a process"));
        }
        if let Some(bytes) = self.service.limits.file_bytes {
            self.out.confinement.file_bytes = Some(bytes);
            self.did(format!("files at most {bytes} bytes each"));
        }
        Ok(())
    }

    fn privileges(&mut self) -> Result<(), Refused> {
        let isolation = &self.service.isolation;
        self.out.no_new_privileges = !isolation.new_privileges.unwrap_or(false);
        let mut drop = Capabilities::default();
        for name in &isolation.drop_capabilities {
            match name.parse() {
                Ok(one) => drop = drop.with(one),
                Err(why) => {
                    let remedy = "correct it";
                    return Err(self.refused("isolation.drop_capabilities", why, remedy));
                }
            }
        }
        if self.out.no_new_privileges {
            self.did("no new privileges".to_owned());
        }
        if drop.is_empty() {
            return Ok(());
        }
        if user::is_root() {
            self.out.confinement.drop = drop;
        } else if !drop
            .and(Capabilities::held_by(std::process::id()))
            .is_empty()
            || !self.out.no_new_privileges
        {
            // An ordinary user can take nothing from what set-uid programs would give.
            let why = "only root can take capabilities away for good";
            let remedy = "run `grace` as root, or leave `new_privileges` out";
            return Err(self.refused("isolation.drop_capabilities", why, remedy));
        }
        self.did(format!("without capabilities: {drop}"));
        Ok(())
    }

    fn network(&mut self) -> Result<(), Refused> {
        if self.service.isolation.network == Some(Network::None) {
            self.need("isolation.network", self.machine.network())?;
            self.out.confinement.own_network = true;
            self.out.confinement.own_users = !user::is_root();
            self.did("no network but its own loopback".to_owned());
        }
        Ok(())
    }

    fn mounts(&mut self) -> Result<(), Refused> {
        let isolation = &self.service.isolation;
        if let Some(bytes) = isolation.private_tmp_bytes {
            self.need("isolation.private_tmp", self.machine.mounts())?;
            let named = isolation.writable.iter().flatten();
            let named = named.chain(&isolation.read_only).cloned();
            let mut keep: Vec<PathBuf> = self.target.needs.to_vec();
            keep.extend(named);
            keep.push(self.target.data.to_owned());
            self.out.confinement.own_tmp = Some(OwnTmp {
                bytes,
                keep: outermost(keep),
            });
            self.did(format!("its own /tmp of at most {bytes} bytes"));
        }
        if !isolation.read_only.is_empty() {
            self.need("isolation.read_only", self.machine.mounts())?;
            let paths = isolation.read_only.clone();
            self.exist("isolation.read_only", &paths)?;
            let shown: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            self.out.confinement.read_only = paths;
            self.did(format!("read-only: {}", shown.join(" ")));
        }
        if self.out.confinement.own_mounts() {
            self.out.confinement.own_users = !user::is_root();
        }
        Ok(())
    }

    /// Landlock's rules: what may be written, whom signals may reach.
    fn rules(&mut self) -> Result<(), Refused> {
        let isolation = self.service.isolation.clone();
        let signals = match isolation.signals {
            Some(Signals::Any) => false,
            Some(Signals::Own) => {
                self.need("isolation.signals", self.machine.signals())?;
                true
            }
            None => match self.machine.signals() {
                Ok(_) => true,
                Err(missing) => {
                    self.lack(missing.clone());
                    false
                }
            },
        };
        let mut writable: Option<Vec<PathBuf>> = None;
        if let Some(named) = &isolation.writable {
            self.exist("isolation.writable", named)?;
            let scratch = SCRATCH
                .into_iter()
                .map(PathBuf::from)
                .filter(|dir| dir.is_dir());
            let own = [self.target.data.to_owned()].into_iter().chain(scratch);
            let all: Vec<PathBuf> = named.iter().cloned().chain(own).collect();
            if self.machine.landlock().is_ok() && self.out.confinement.own_tmp.is_none() {
                writable = Some(all);
                self.did(format!("writes only to {}, by Landlock", shown(named)));
            } else {
                // A `/tmp` of its own is made after rules by path would have been.
                let given = self.machine.mounts().clone();
                self.need("isolation.writable", &given)?;
                let all = all.into_iter().chain(self.target.writes.iter().cloned());
                self.out.confinement.writable = Some(all.collect());
                self.out.confinement.own_users = !user::is_root();
                self.did(format!("writes only to {}, by mounts", shown(named)));
            }
        }
        if !signals && writable.is_none() {
            return Ok(());
        }
        let paths: Option<Vec<&Path>> = writable
            .as_ref()
            .map(|all| all.iter().map(PathBuf::as_path).collect());
        let devices = Path::new("/dev");
        let files: Vec<&Path> = [devices]
            .into_iter()
            .chain(self.target.writes.iter().map(PathBuf::as_path))
            .collect();
        let rules = landlock::Rules {
            keep_signals: signals,
            writable: paths.as_deref(),
            files: &files,
        };
        match Landlock::new(&rules) {
            Ok(landlock) => {
                self.out.confinement.landlock = Some(landlock);
                // The kernel wants it of everyone who restricts itself.
                if !self.out.no_new_privileges {
                    if isolation.signals.is_none() && writable.is_none() {
                        self.out.confinement.landlock = None;
                        self.lack(missing(
                            "protection of neighbours from its signals",
                            "`new_privileges = true` and Landlock exclude each other",
                            "leave `new_privileges` out",
                        ));
                        return Ok(());
                    }
                    let why = "it and `new_privileges = true` exclude each other";
                    let remedy = "leave one of them out";
                    let key = if writable.is_some() {
                        "isolation.writable"
                    } else {
                        "isolation.signals"
                    };
                    return Err(self.refused(key, why, remedy));
                }
                if signals {
                    self.did("signals and traces only its own processes".to_owned());
                }
                Ok(())
            }
            Err(error) if writable.is_none() && isolation.signals.is_none() => {
                let remedy = "see `grace doctor`";
                self.lack(missing(
                    "protection of neighbours from its signals",
                    error,
                    remedy,
                ));
                Ok(())
            }
            Err(error) => {
                let key = if writable.is_some() {
                    "isolation.writable"
                } else {
                    "isolation.signals"
                };
                Err(self.refused(key, error, "see `grace doctor`"))
            }
        }
    }

    fn calls(&mut self) -> Result<(), Refused> {
        if self.service.isolation.syscalls == Some(Syscalls::Service) {
            self.need("isolation.syscalls", self.machine.filters())?;
            if !self.out.no_new_privileges {
                let why = "it and `new_privileges = true` exclude each other";
                return Err(self.refused("isolation.syscalls", why, "leave one of them out"));
            }
            self.out.confinement.filter = Some(Filter::kernel());
            self.did("no system calls that change the kernel or other processes".to_owned());
        }
        Ok(())
    }

    fn did(&mut self, what: String) {
        self.out.report.applied.push(what);
    }

    fn lack(&mut self, what: Missing) {
        if !self.out.report.missing.contains(&what) {
            self.out.report.missing.push(what);
        }
    }

    fn need(&self, key: &'static str, given: &Given) -> Result<(), Refused> {
        match given {
            Ok(_) => Ok(()),
            Err(missing) => {
                let why = format!("no {}: {}", missing.what, missing.why);
                Err(self.refused(key, why, format!("to get it: {}", missing.remedy)))
            }
        }
    }

    fn strictly(&self, key: &'static str, done: Result<(), String>) -> Result<(), Refused> {
        done.map_err(|why| self.refused(key, why, "ask for another value"))
    }

    fn exist(&self, key: &'static str, paths: &[PathBuf]) -> Result<(), Refused> {
        match paths.iter().find(|path| !path.exists()) {
            None => Ok(()),
            Some(path) => {
                let why = format!("{} does not exist", path.display());
                Err(self.refused(key, why, "make it, or correct the path"))
            }
        }
    }

    fn refused(
        &self,
        key: &'static str,
        why: impl std::fmt::Display,
        remedy: impl Into<String>,
    ) -> Refused {
        Refused {
            service: self.service.name.to_string(),
            key,
            why: why.to_string(),
            remedy: remedy.into(),
        }
    }
}

fn shown(paths: &[PathBuf]) -> String {
    let named = paths.iter().map(|path| path.display().to_string());
    let all: Vec<String> = ["its data directory, /tmp, /dev".to_owned()]
        .into_iter()
        .chain(named)
        .collect();
    all.join(", ")
}

/// Without what lies below another.
pub(crate) fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.retain(|path| path.exists());
    paths.sort_unstable();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !kept.last().is_some_and(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}

fn usual_pids() -> u32 {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let most = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"]
        .into_iter()
        .filter_map(read)
        .min()
        .unwrap_or(32_768);
    u32::try_from(most.saturating_mul(PIDS_PERCENT) / 100).unwrap_or(u32::MAX)
}
