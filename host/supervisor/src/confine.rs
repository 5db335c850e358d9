//! How instances are confined: prepared before the fork, told after it, taken away after the end.
//! What a service may ask for is the sandbox's to know; whether an instance is started is not
//! decided here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use grace_model::event::{Subject, What};
use grace_model::id::InstanceId;
use grace_model::instance::ExitCause;
use grace_model::isolation::{Missing, Network, Report};
use grace_os::cgroup::Group;
use grace_os::spawn::find_program;
use grace_sandbox::{Home, Machine, Prepared, Target, prepare};

use crate::core::Core;
use crate::slot::Slot;

/// Groups whose directories could not be removed yet; one stays only while the kernel still
/// ends what was in it.
const GRAVES: usize = 256;

/// What this supervisor knows of isolation.
#[derive(Debug)]
pub(crate) struct Confines {
    pub machine: Machine,
    pub home: Home,
    /// Lines that were written to the log already: one a service and cause is enough.
    told: HashSet<String>,
    graves: Vec<Group>,
}

/// The group of a running process, and what its killer has done in it.
#[derive(Debug)]
pub(crate) struct InGroup {
    pub group: Group,
    /// Out-of-memory kills when it was last looked at.
    kills: u64,
    /// When that number rose last, in milliseconds since boot; 0: never.
    killed_at: u64,
}

impl Confines {
    pub(crate) fn new(host: &str, run: &Path) -> Self {
        Self {
            machine: Machine::new(),
            home: Home::open(host, Some(&run.join("cgroups.json"))),
            told: HashSet::new(),
            graves: Vec::new(),
        }
    }

    /// Ends what is left in a group and removes it.
    pub(crate) fn bury(&mut self, group: &Group) {
        let stayed = group.kill(crate::deaths::LEFTOVERS);
        if !stayed.is_empty() {
            tracing::error!(pids = ?stayed, "do not end");
        }
        if group.remove().is_err() && self.graves.len() < GRAVES {
            self.graves.push(group.clone());
        }
    }

    /// Tries again what could not be removed.
    pub(crate) fn look_at_graves(&mut self) {
        self.graves.retain(|group| group.remove().is_err());
    }
}

/// The name of the group of one process of an instance.
pub(crate) fn group_name(id: &InstanceId, generation: u64) -> String {
    format!("{id}.{generation}")
}

impl InGroup {
    /// A group whose memory is counted.
    pub(crate) fn new(group: Group) -> Self {
        let kills = group.oom_kills().unwrap_or(0);
        Self {
            group,
            kills,
            killed_at: 0,
        }
    }

    /// Looks whether its killer was there.
    pub(crate) fn look(&mut self, now: u64) {
        let kills = self.group.oom_kills().unwrap_or(self.kills);
        if kills > self.kills {
            self.killed_at = now;
        }
        self.kills = kills;
    }

    /// Whether its memory is counted, so that nobody else's kills are taken for its own.
    pub(crate) fn counts(&self) -> bool {
        self.group.oom_kills().is_some()
    }

    /// Whether its killer was there not longer than `within` ago.
    pub(crate) fn killed(&self, now: u64, within: u64) -> bool {
        self.killed_at != 0 && now.saturating_sub(self.killed_at) <= within
    }
}

impl Core {
    /// What the child of an instance gets.
    pub(crate) fn prepare(
        &self,
        slot: &Slot,
        generation: u64,
        data: &Path,
        program: &str,
    ) -> Result<Prepared, String> {
        let service = &slot.service;
        let notify = slot.notify.as_ref().map(|notify| notify.address.as_str());
        let asked =
            service.heartbeat_ms.is_some() || service.ready == grace_model::config::Ready::Notify;
        let abstract_socket = notify.is_some_and(|address| address.starts_with('@'));
        if service.isolation.network == Some(Network::None) && asked && abstract_socket {
            return Err(format!(
                "service {} has no network and another user than Grace, so it cannot reach \
                 $NOTIFY_SOCKET; use `ready` = {{ process = true }} without `heartbeat`, or leave \
                 `isolation.network` out",
                service.name
            ));
        }
        let output = self.layout.fifo(&slot.id);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = find_program(program.as_ref(), &path, Some(&service.work_dir)).ok();
        let beside = found.and_then(|file| file.parent().map(Path::to_owned));
        let socket = notify.filter(|_| !abstract_socket).map(PathBuf::from);
        let needs: Vec<PathBuf> = [service.work_dir.clone(), output.clone()]
            .into_iter()
            .chain(beside)
            .chain(socket)
            // The root is seen in any case.
            .filter(|path| path.parent().is_some())
            .collect();
        let name = group_name(&slot.id, generation);
        let target = Target {
            group: &name,
            data,
            needs: &needs,
            writes: &[output],
        };
        let confines = &self.confines;
        prepare(service, &target, &confines.machine, &confines.home)
            .map_err(|refused| refused.to_string())
    }

    /// Writes down how a process that runs now is confined.
    pub(crate) fn tell_isolation(&mut self, subject: Subject, report: Report) {
        let line = report.missing_line();
        if let Some(line) = line {
            let service = subject.service.clone();
            let key = format!("{service} {line}");
            if self.confines.told.insert(key) {
                tracing::warn!(%service, "{line}");
            }
        }
        self.record(What::Isolated { subject, report });
    }

    /// Whether the kernel's killer ended this process, by its own group's count. None: it has no
    /// group that counts.
    pub(crate) fn oom_in_group(&mut self, id: &InstanceId, now: u64) -> Option<bool> {
        let running = self.slots.get_mut(id)?.running.as_mut()?;
        let own = running.group.as_mut().filter(|own| own.counts())?;
        own.look(now);
        Some(own.killed(now, crate::deaths::OOM_MS))
    }

    /// What a process that died while nobody looked died of: its group was its own, so a kill
    /// that was counted there was its own or a descendant's.
    pub(crate) fn old_cause(
        &self,
        id: &InstanceId,
        generation: u64,
        cause: ExitCause,
    ) -> ExitCause {
        let group = self.confines.home.group(&group_name(id, generation));
        match cause {
            ExitCause::Signal(9) if group.oom_kills().unwrap_or(0) > 0 => ExitCause::Oom,
            other => other,
        }
    }

    /// Looks at the killer's counts of all groups.
    pub(crate) fn look_at_groups(&mut self, now: u64) {
        for slot in self.slots.values_mut() {
            if let Some(own) = slot.running.as_mut().and_then(|r| r.group.as_mut()) {
                own.look(now);
            }
        }
        self.confines.look_at_graves();
    }

    /// Removes groups that belong to nobody, with what is in them.
    pub(crate) fn sweep_groups(&self) {
        let running = self.slots.values().filter_map(|slot| {
            let running = slot.running.as_ref()?;
            Some(group_name(&slot.id, running.generation))
        });
        let keep: Vec<String> = running.collect();
        let (gone, faults) = self.confines.home.sweep(&keep);
        if !gone.is_empty() {
            tracing::info!(groups = ?gone, "belonged to nobody and were removed");
        }
        for error in faults {
            tracing::error!(%error, "a group stays");
        }
    }
}

/// For a process that had to start without what nobody asked for.
pub(crate) fn bare(why: &dyn std::error::Error) -> Prepared {
    Prepared {
        no_new_privileges: true,
        report: Report {
            applied: vec!["no new privileges".to_owned()],
            missing: vec![Missing {
                what: "any other isolation".to_owned(),
                why: why.to_string(),
                remedy: "see `grace doctor`".to_owned(),
            }],
        },
        ..Prepared::default()
    }
}
