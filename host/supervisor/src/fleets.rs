//! The fleet machines of the services: what happens to instances is told to them, and what they
//! want is asked of the instances' own machines. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use grace_model::command::{Outcome, StopMode};
use grace_model::config::{Roles, Service};
use grace_model::event::What;
use grace_model::id::{InstanceId, OpId, ServiceName};
use grace_model::instance::Role;
use grace_plan::fleet::{self, Action, Ask, Event, Facts, Fleet, Plan, Policy, Report};
use grace_plan::restart;
use serde::{Deserialize, Serialize};

use crate::core::{Core, Shutdown};
use crate::slot::Slot;

/// The version that `grace.toml` declares when a host starts.
const FIRST: u64 = 1;

/// Time that a new version is watched before it counts as good: some ten windows of traffic.
const WATCH_MS: u64 = 5_000;

/// Time that the old version runs on beside the new one after a switch. Most of what a watch of
/// seconds does not show, people see within minutes.
const KEEP_MS: u64 = 120_000;

/// A service's fleet, and what its versions are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Squad {
    pub fleet: Fleet,
    /// What each version declares. Those that no instance and no way back needs are forgotten.
    pub versions: BTreeMap<u64, Arc<Service>>,
    /// The newest version's number.
    pub newest: u64,
}

/// What fleets told while machines were stepped, to be carried out with their actions.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub reports: Vec<(ServiceName, Report)>,
    pub finished: Vec<(OpId, Outcome)>,
}

impl Told {
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.finished.is_empty()
    }
}

impl Squad {
    pub(crate) fn new(service: &Service, plan: Plan) -> Self {
        let fleet = Fleet::new(policy(service), plan, FIRST);
        let versions = BTreeMap::from([(FIRST, Arc::new(service.clone()))]);
        Self {
            fleet,
            versions,
            newest: FIRST,
        }
    }

    /// What an instance runs or is to run.
    pub(crate) fn definition(&self, number: u32) -> Option<&Arc<Service>> {
        self.versions.get(&self.fleet.version_of(number)?)
    }

    /// Forgets versions that nobody runs and nobody can go back to.
    fn tidy(&mut self) {
        if self.fleet.is_rolling() {
            return;
        }
        let (now, before) = self.fleet.versions();
        let fleet = &self.fleet;
        let runs: Vec<u64> = fleet
            .numbers()
            .filter_map(|n| fleet.version_of(n))
            .collect();
        self.versions.retain(|version, _| {
            *version == now || Some(*version) == before || runs.contains(version)
        });
    }
}

/// What a service asks for.
pub(crate) fn plan(service: &Service) -> Plan {
    match service.roles {
        Some(Roles { active, hot, warm }) => Plan { active, hot, warm },
        None => Plan::all_active(service.instances),
    }
}

pub(crate) fn policy(service: &Service) -> Policy {
    Policy {
        roles: service.roles.is_some(),
        ramp_step_ms: service.ramp_step_ms,
        leave_ms: service.drain_timeout_ms,
        cut_ms: restart::FENCE_MS,
        start_timeout_ms: service.start_timeout_ms,
        watch_ms: WATCH_MS,
        keep_ms: KEEP_MS,
    }
}

impl Core {
    /// Service and number of an instance that is part of a fleet.
    fn placed(&self, id: &InstanceId) -> Option<(ServiceName, u32)> {
        let (name, number) = id.split()?;
        self.squads.contains_key(&name).then_some((name, number))
    }

    pub(crate) fn role(&self, id: &InstanceId) -> Role {
        self.placed(id)
            .and_then(|(name, number)| self.squads.get(&name)?.fleet.role(number))
            .unwrap_or(Role::Active)
    }

    /// Whether an instance is part of its service.
    pub(crate) fn is_wanted(&self, id: &InstanceId) -> bool {
        self.placed(id).is_some_and(|(name, number)| {
            self.squads
                .get(&name)
                .is_some_and(|squad| squad.fleet.wants(number))
        })
    }

    /// Tells a fleet something; what it wants goes to the instances' machines.
    pub(crate) fn tell_fleet(
        &mut self,
        name: &ServiceName,
        event: Event,
        now: u64,
        told: &mut Told,
    ) -> bool {
        if self.shutdown != Shutdown::No {
            return false;
        }
        let Some(squad) = self.squads.get_mut(name) else {
            return false;
        };
        // What traffic was is told often and kept by nobody.
        let passing = matches!(event, Event::Traffic { .. } | Event::Fresh { .. });
        let asked = matches!(event, Event::Ask { .. });
        let before = (!passing).then(|| squad.fleet.clone());
        let actions = squad.fleet.step(event, now);
        let changed = before.is_some_and(|before| before != squad.fleet) || !actions.is_empty();
        if !actions.is_empty() {
            squad.tidy();
        }
        for action in actions {
            self.follow(name, action, told);
        }
        if asked {
            self.dress_new(name);
        }
        changed
    }

    fn follow(&mut self, name: &ServiceName, action: Action, told: &mut Told) {
        if let Action::Start(number) | Action::Assign(number, _) | Action::Renew(number, _) =
            &action
        {
            self.dress(name, *number);
        }
        if let Some((number, event)) = action.for_instance() {
            self.events.push_back((InstanceId::of(name, number), event));
        }
        match action {
            Action::Report(report) => told.reports.push((name.clone(), report)),
            Action::Finish(op, outcome) => told.finished.push((op, outcome)),
            _ => {}
        }
    }

    /// Has every instance be there, also those that nothing is to run of yet.
    fn dress_new(&mut self, name: &ServiceName) {
        let Some(squad) = self.squads.get(name) else {
            return;
        };
        let numbers: Vec<u32> = squad.fleet.numbers().collect();
        for number in numbers {
            if !self.slots.contains_key(&InstanceId::of(name, number)) {
                self.dress(name, number);
            }
        }
    }

    /// Has an instance be there, with the definition of its version.
    fn dress(&mut self, name: &ServiceName, number: u32) {
        let Some(service) = self
            .squads
            .get(name)
            .and_then(|squad| squad.definition(number))
        else {
            return;
        };
        let id = InstanceId::of(name, number);
        let slot = self
            .slots
            .entry(id.clone())
            .or_insert_with(|| Slot::new(id, service.clone()));
        slot.service = service.clone();
        slot.machine.set_policy(restart::Policy::of(service));
    }

    /// Shows a fleet what an instance's machine says now.
    pub(crate) fn show(&mut self, id: &InstanceId, now: u64, told: &mut Told) -> bool {
        let Some((name, number)) = self.placed(id) else {
            return false;
        };
        let Some(facts) = self.slots.get(id).map(|slot| Facts::of(&slot.machine)) else {
            return false;
        };
        self.tell_fleet(&name, Event::Seen { number, facts }, now, told)
    }

    /// Tells fleets what has come for them.
    pub(crate) fn settle_fleets(&mut self, now: u64, told: &mut Told) -> bool {
        let mut changed = false;
        while let Some((name, event)) = self.fleet_events.pop_front() {
            changed |= self.tell_fleet(&name, event, now, told);
        }
        changed
    }

    /// Something about one process of an instance, for its fleet.
    pub(crate) fn note_fleet(&mut self, id: &InstanceId, event: impl FnOnce(u32) -> Event) {
        if let Some((name, number)) = self.placed(id) {
            self.fleet_events.push_back((name, event(number)));
        }
    }

    /// Ends leaves that no proxy will ever confirm: there is none that could have a connection.
    /// One that lives and cannot be reached may have some, and is waited for.
    pub(crate) fn look_after_leaves(&mut self, proxied: bool, proxy_lives: bool) {
        for (name, squad) in &self.squads {
            for number in squad.fleet.numbers() {
                if !squad.fleet.awaits_drained(number) {
                    continue;
                }
                let Some(slot) = self.slots.get(&InstanceId::of(name, number)) else {
                    continue;
                };
                if !slot.is_proxied() || (!proxied && !proxy_lives) {
                    let event = Event::Drained {
                        number,
                        generation: slot.machine.generation(),
                        leave: squad.fleet.leave(number),
                    };
                    self.fleet_events.push_back((name.clone(), event));
                }
            }
        }
    }

    /// Has every instance of a service be there as its fleet wants it, and those that are none
    /// of it retired.
    pub(crate) fn muster(&mut self, name: &ServiceName) {
        let Some(squad) = self.squads.get_mut(name) else {
            return;
        };
        squad.fleet.recover();
        let numbers: Vec<u32> = squad.fleet.numbers().collect();
        for number in &numbers {
            self.dress(name, *number);
        }
        let now = Core::now();
        let mut told = Told::default();
        let slots: Vec<InstanceId> = self
            .slots
            .values()
            .filter(|slot| slot.service.name == *name)
            .map(|slot| slot.id.clone())
            .collect();
        for id in slots {
            if self.is_wanted(&id) {
                self.show(&id, now, &mut told);
            } else {
                self.events
                    .push_back((id, restart::Event::Retire(StopMode::Graceful)));
            }
        }
        self.tell_fleet(name, Event::Tick, now, &mut told);
        self.carry_out_told(told);
    }

    /// Asks a fleet; its answer to the operation comes with the next settling.
    pub(crate) fn ask_fleet(&mut self, op: OpId, name: &ServiceName, ask: Ask) {
        if self.squads.contains_key(name) {
            self.fleet_events
                .push_back((name.clone(), Event::Ask { op, ask }));
        } else {
            self.refuse(&op, true, &format!("there is no service {name}"));
        }
    }

    /// Journals reports and ends operations.
    pub(crate) fn carry_out_told(&mut self, told: Told) {
        for (service, report) in told.reports {
            let (kind, number, text) = words(&report);
            let instance = number.map(|number| InstanceId::of(&service, number));
            tracing::info!(%service, instance = instance.as_ref().map(InstanceId::as_str), kind, "{text}");
            self.record(What::Fleet {
                service,
                instance,
                kind: kind.to_owned(),
                text,
            });
        }
        for (op, outcome) in told.finished {
            self.finish(&op, outcome);
        }
    }

    /// The next time that a fleet has something to do.
    pub(crate) fn fleets_due(&self) -> Option<u64> {
        self.squads
            .values()
            .filter_map(|squad| squad.fleet.deadline())
            .min()
    }

    /// Tells fleets whose time has come.
    pub(crate) fn wake_fleets(&mut self, now: u64) {
        for (name, squad) in &self.squads {
            if squad.fleet.deadline().is_some_and(|at| at <= now) {
                self.fleet_events.push_back((name.clone(), Event::Tick));
            }
        }
    }

    /// Takes up a rollout: the definition gets a number, and the fleet is asked.
    pub(crate) fn roll_out(&mut self, op: OpId, definition: Service, strategy: fleet::Strategy) {
        let name = definition.name.clone();
        let Some(squad) = self.squads.get_mut(&name) else {
            self.refuse(&op, true, &format!("there is no service {name}"));
            return;
        };
        let (runs, _) = squad.fleet.versions();
        let current = squad.versions.get(&runs).cloned();
        let mut definition = definition;
        // Any free port: it became a real one when the host started.
        if let Some(now) = current.as_ref().and_then(|now| now.listen)
            && let Some(then) = definition.listen
            && then.port() == 0
            && then.ip() == now.ip()
        {
            definition.listen = Some(now);
        }
        if let Some(key) = current.as_ref().and_then(|now| fixed(now, &definition)) {
            let reason = format!(
                "a rollout changes what runs, not `{key}`; put it back in grace.toml, or \
                 `grace down` and `grace up`"
            );
            self.refuse(&op, false, &reason);
            return;
        }
        if current.is_some_and(|now| *now == definition) {
            let reason = format!(
                "service {name} runs this already; change its `command` or `env` in grace.toml, \
                 or restart its instances"
            );
            self.refuse(&op, false, &reason);
            return;
        }
        squad.newest += 1;
        let version = squad.newest;
        squad.versions.insert(version, Arc::new(definition));
        self.ask_fleet(op, &name, Ask::Rollout { version, strategy });
    }
}

/// The first key that a rollout cannot change and that differs: the sockets, the probes and the
/// numbers are the whole service's.
fn fixed(now: &Service, then: &Service) -> Option<&'static str> {
    [
        ("listen", now.listen == then.listen),
        ("socket", now.socket == then.socket),
        ("ready", now.ready == then.ready),
        ("protocol, proxy_protocol and tls", now.front == then.front),
        ("instances", now.instances == then.instances),
        ("active, hot and warm", now.roles == then.roles),
    ]
    .into_iter()
    .find(|(_, same)| !same)
    .map(|(key, _)| key)
}

/// A report's kind, its instance, and the same for a person.
fn words(report: &Report) -> (&'static str, Option<u32>, String) {
    match report {
        Report::Promoted { number, instead_of } => {
            let instead = instead_of.map_or(String::new(), |old| format!(" instead of {old}"));
            let text = format!("number {number} is active{instead}");
            ("promoted", Some(*number), text)
        }
        Report::Demoted { number, .. } => {
            let text = format!("number {number} is not active any more and answers nobody");
            ("demoted", Some(*number), text)
        }
        Report::Refilled { number } => {
            let text = format!("number {number} takes the place of one that is gone");
            ("refilled", Some(*number), text)
        }
        Report::Fencing { number } => {
            let text = format!("number {number} is unhealthy and is fenced before another serves");
            ("fencing", Some(*number), text)
        }
        Report::FencedAtProxyOnly { number } => {
            let text = format!(
                "number {number} does not die of SIGKILL: it is fenced at the proxy only; its \
                 port and directory are not used again while it is there"
            );
            ("fenced-at-proxy-only", Some(*number), text)
        }
        Report::NoStandby { number } => {
            let text = format!("number {number} does not serve and no standby is ready");
            ("no-standby", Some(*number), text)
        }
        Report::GaveUp => {
            let text = "every instance has used up its restarts; `grace fleet restart` begins anew";
            ("gave-up", None, text.to_owned())
        }
        Report::RampAborted { number, reason } => {
            let text = format!("number {number} gets no traffic for a while: {reason}");
            ("ramp-aborted", Some(*number), text)
        }
        Report::Rollout { text } => ("rollout", None, text.clone()),
    }
}
