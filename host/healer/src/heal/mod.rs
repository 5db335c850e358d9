//! From incidents to playbooks and their runs: choosing, running, verifying, escalating.

pub mod crew;
pub mod duty;
pub mod port;
pub mod rules;
pub mod runner;
pub mod shelf;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use grace_model::config::{Channel, Config, Ready, Service};
use grace_model::id::InstanceId;
use grace_model::instance::{InstanceView, Role, State};
use grace_model::ipc::FleetStatus;
use grace_model::port::PluginHost;

use crate::clock::Clock;
use crate::desk::Desk;
use crate::files::Files;
use crate::govern::Governor;
use crate::reach::herald::Herald;
use crate::reach::supervisor::Supervisor;
use crate::signal::measured::Gauges;
use crate::signal::traffic::TrafficWindow;

/// What runs of playbooks and host calls of actions need.
pub struct Reach {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Incidents and the ledger.
    pub desk: Arc<Desk>,
    /// Actions.
    pub plugins: Arc<dyn PluginHost>,
    /// The way to the supervisor.
    pub supervisor: Supervisor,
    /// Declared files.
    pub files: Files,
    /// The last minute of traffic.
    pub traffic: Mutex<TrafficWindow>,
    /// What everything uses.
    pub gauges: Mutex<Gauges>,
    /// What the supervisor last told; none while it is away.
    pub fleet: RwLock<Option<FleetStatus>>,
    /// Services as declared.
    pub services: Vec<Service>,
    /// Where messages go.
    pub channels: BTreeMap<String, Channel>,
    /// Tells everybody.
    pub herald: Herald,
    /// What may run.
    pub governor: Governor,
}

impl Reach {
    /// What the healer reaches on a host with this configuration.
    #[must_use]
    pub fn new(
        config: &Config,
        clock: Arc<dyn Clock>,
        desk: Arc<Desk>,
        plugins: Arc<dyn PluginHost>,
        supervisor: Supervisor,
        files: Files,
        governor: Governor,
    ) -> Self {
        Self {
            herald: Herald::new(&config.notify, &desk),
            governor,
            clock,
            desk,
            plugins,
            supervisor,
            files,
            traffic: Mutex::new(TrafficWindow::default()),
            gauges: Mutex::new(Gauges::default()),
            fleet: RwLock::new(None),
            services: config.services.clone(),
            channels: config.notify.clone(),
        }
    }

    /// Asks the supervisor anew. None while it is away.
    pub fn refresh_fleet(&self) -> Option<FleetStatus> {
        let status = match self.supervisor.status() {
            Ok(status) => Some(status),
            Err(e) => {
                tracing::debug!(cause = %e, "no fleet status");
                None
            }
        };
        self.fleet
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&status);
        status
    }

    /// The last known status.
    #[must_use]
    pub fn fleet(&self) -> Option<FleetStatus> {
        self.fleet
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The last known instances.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceView> {
        let fleet = self.fleet.read().unwrap_or_else(PoisonError::into_inner);
        fleet
            .as_ref()
            .map_or_else(Vec::new, |fleet| fleet.instances.clone())
    }

    /// The service that a target is or belongs to; the target itself when it is neither.
    #[must_use]
    pub fn service_of(&self, target: &str) -> String {
        if self
            .services
            .iter()
            .any(|service| service.name.as_str() == target)
        {
            return target.to_owned();
        }
        match InstanceId::from(target).split() {
            Some((service, _)) => service.0,
            None => target.to_owned(),
        }
    }

    /// How many instances a service is to have, as the supervisor last told; while it is away, as
    /// declared.
    #[must_use]
    pub fn instances_of(&self, service: &str) -> u32 {
        let fleet = self.fleet.read().unwrap_or_else(PoisonError::into_inner);
        let told = fleet
            .as_ref()
            .and_then(|fleet| fleet.services.iter().find(|s| s.name.as_str() == service))
            .map(|service| service.instances);
        let declared = || self.services.iter().find(|s| s.name.as_str() == service);
        told.or_else(|| declared().map(|service| service.instances))
            .unwrap_or(0)
    }

    /// How a service tells that it is ready.
    #[must_use]
    pub fn ready_of(&self, service: &str) -> Option<&Ready> {
        let service = self.services.iter().find(|s| s.name.as_str() == service)?;
        Some(&service.ready)
    }

    /// Whether a target is ready, by the last known status. What is neither an instance nor a
    /// service (the machine, an instance that was scaled away) cannot be unready.
    #[must_use]
    pub fn is_ready(&self, target: &str) -> bool {
        let fleet = self.fleet.read().unwrap_or_else(PoisonError::into_inner);
        let Some(fleet) = fleet.as_ref() else {
            return false;
        };
        if let Some(instance) = fleet.instances.iter().find(|i| i.id.as_str() == target) {
            // A failover may have made it a warm one, of which nothing is to run.
            let at_rest = instance.role == Role::Warm && instance.state == State::Stopped;
            return instance.state == State::Ready || at_rest;
        }
        let service = fleet.services.iter().find(|s| s.name.as_str() == target);
        service.is_none_or(|service| service.ready >= service.instances)
    }
}
