//! What others are told: the routing table and the status.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use grace_model::config::{Ready, Service};
use grace_model::id::InstanceId;
use grace_model::instance::State;
use grace_model::ipc::{
    Answer, FleetStatus, GraceProcess, ServiceView, Table, TableInstance, TableProbe, TableService,
};
use grace_model::status::Kernel;
use grace_plan::fleet::Fleet;

use crate::core::Core;
use crate::slot::Slot;

/// While an instance starts everyone waits for it, so it is probed often.
const START_PROBE_MS: u64 = 25;

impl Core {
    /// Sends the table to subscribers if it has changed.
    pub(crate) fn publish(&mut self) {
        let services: Vec<TableService> = self
            .config
            .services
            .iter()
            .map(|service| self.table_service(service))
            .collect();
        if services != self.table.services || self.table.version == 0 {
            self.table = Table {
                version: self.table.version + 1,
                services,
                proxy: self.config.proxy.clone(),
            };
            let table = Answer::Table(self.table.clone());
            self.clients.publish(&table);
        }
    }

    fn of_service<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Slot> {
        let of = move |slot: &&Slot| slot.service.name == service.name;
        let mut slots: Vec<&Slot> = self.slots.values().filter(of).collect();
        slots.sort_by_key(|slot| slot.id.split().map_or(0, |(_, number)| number));
        slots.into_iter()
    }

    fn table_service(&self, service: &Service) -> TableService {
        let weights = self.weights();
        let instances = self.of_service(service).map(|slot| TableInstance {
            id: slot.id.clone(),
            generation: slot.machine.generation(),
            addr: (slot.port != 0).then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, slot.port))),
            unix: self.unix_of(slot),
            process: slot.running.as_ref().map(|running| running.process.clone()),
            state: self.shown_state(slot),
            fenced: slot.machine.fenced() || self.of_fleet(slot, Fleet::is_cut),
            weight: weights.get(&slot.id).copied().unwrap_or(0),
            leave: self.of_fleet(slot, Fleet::leave),
        });
        TableService {
            name: service.name.clone(),
            probe: probe(service),
            front: service.front.clone(),
            record: service.record.clone(),
            instances: instances.collect(),
        }
    }

    /// The Unix socket of an instance, filled in as its command's words are.
    fn unix_of(&self, slot: &Slot) -> Option<std::path::PathBuf> {
        let path = slot.service.front.unix.as_ref()?;
        let data = self.layout.data(&slot.id);
        let path = path
            .replace("{data}", &data.to_string_lossy())
            .replace("{instance}", slot.id.as_str());
        Some(path.into())
    }

    /// What a fleet says of an instance.
    fn of_fleet<T: Default>(&self, slot: &Slot, ask: impl Fn(&Fleet, u32) -> T) -> T {
        let number = slot.id.split().map_or(0, |(_, number)| number);
        let squad = self.squads.get(&slot.service.name);
        squad.map_or_else(T::default, |squad| ask(&squad.fleet, number))
    }

    /// Its state; a fleet that takes it from the traffic has it drained.
    fn shown_state(&self, slot: &Slot) -> State {
        let state = slot.machine.state();
        let serves = matches!(state, State::Ready | State::Degraded);
        if serves && self.of_fleet(slot, Fleet::is_leaving) {
            State::Draining
        } else {
            state
        }
    }

    /// Each instance's share.
    fn weights(&self) -> BTreeMap<InstanceId, u32> {
        let mut all = BTreeMap::new();
        for (name, squad) in &self.squads {
            for (number, weight) in squad.fleet.weights() {
                all.insert(InstanceId::of(name, *number), *weight);
            }
        }
        all
    }

    /// Instances that are wanted and not only prepared.
    fn running_wanted(&self, service: &Service) -> u32 {
        self.squads
            .get(&service.name)
            .map_or(service.instances, |squad| {
                let plan = squad.fleet.plan();
                plan.active.saturating_add(plan.hot)
            })
    }

    /// All that is known.
    pub(crate) fn status(&self) -> FleetStatus {
        let now = Core::now();
        let weights = self.weights();
        let weight = |id: &InstanceId| weights.get(id).copied().unwrap_or(0);
        let services = &self.config.services;
        let slots = services.iter().flat_map(|service| self.of_service(service));
        FleetStatus {
            processes: self.processes(),
            instances: slots
                .map(|slot| slot.view(self.role(&slot.id), weight(&slot.id), now))
                .collect(),
            services: services
                .iter()
                .map(|service| self.service_view(service))
                .collect(),
            kernels: self.kernels(now),
        }
    }

    fn service_view(&self, service: &Service) -> ServiceView {
        let ready = self
            .of_service(service)
            .filter(|slot| slot.machine.state() == State::Ready)
            .count();
        let bound = self.listeners.get(&format!("listen:{}:0", service.name));
        // Port 0 in the configuration became a real one when it was bound.
        let bound = bound
            .and_then(|fd| fd.try_clone().ok())
            .and_then(|fd| std::net::TcpListener::from(fd).local_addr().ok());
        ServiceView {
            name: service.name.clone(),
            listen: bound.or(service.listen),
            instances: self.running_wanted(service),
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
        }
    }

    fn processes(&self) -> Vec<GraceProcess> {
        let own = GraceProcess {
            name: "supervisor".to_owned(),
            pid: std::process::id(),
            restarts: self.supervisor_restarts,
            leaving: Vec::new(),
        };
        let part = |part: &crate::parts::Part| GraceProcess {
            name: part.name.to_owned(),
            pid: part.pid(),
            restarts: part.restarts.saturating_sub(1),
            leaving: part
                .beside
                .leaving
                .iter()
                .map(|it| it.process.id.pid)
                .collect(),
        };
        let mut all = vec![part(&self.keeper), own];
        all.extend(self.parts.iter().map(part));
        all
    }

    fn kernels(&self, now: u64) -> Vec<Kernel> {
        let kernel = |name: &str, depends_on: &[&str], work_done: u64| Kernel {
            name: name.to_owned(),
            process: "supervisor".to_owned(),
            tier: 1,
            state: "running".to_owned(),
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
            heartbeat_age_ms: now.saturating_sub(self.beat_at),
            restarts: self.supervisor_restarts,
            work_done,
        };
        vec![
            kernel("platform", &[], self.beats),
            kernel("fleet", &["platform"], self.work),
        ]
    }
}

fn probe(service: &Service) -> Option<TableProbe> {
    let http = match &service.ready {
        Ready::Http(path) => Some(path.clone()),
        Ready::Tcp => None,
        Ready::Notify | Ready::Process => return None,
    };
    Some(TableProbe {
        http,
        start_interval_ms: START_PROBE_MS.min(service.probe_interval_ms),
        interval_ms: service.probe_interval_ms,
        timeout_ms: service.probe_timeout_ms,
        failures: service.probe_failures,
    })
}
