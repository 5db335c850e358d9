//! `grace status`: is the host up, is it whole, what is missing.

use clap::Args;
use grace_model::instance::{InstanceView, State};
use grace_model::ipc::FleetStatus;
use serde_json::json;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};
use crate::space::Space;
use crate::supervisor;

/// How the host is: its own processes, the services, what is not ready
#[derive(Debug, Args)]
pub struct Status {}

impl Status {
    /// Shows it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let layout = globals.layout()?;
        let fleet = supervisor::status(&layout)?;
        // Looked at here and not asked for: a host that cannot write may not know it yet.
        let troubles: Vec<_> = Space::look(layout.root())
            .ok()
            .and_then(|space| space.trouble())
            .into_iter()
            .collect();
        let mut missing = missing(&fleet);
        missing.extend(troubles.iter().map(|one| one.what.clone()));
        if globals.json {
            let value = json!({
                "state": layout.root(),
                "whole": missing.is_empty(),
                "missing": missing,
                "troubles": troubles,
                "processes": fleet.processes,
                "services": fleet.services,
                "instances": fleet.instances,
            });
            show::document(&value)?;
            return Ok(std::process::ExitCode::SUCCESS);
        }
        if missing.is_empty() {
            show::line(&format!(
                "{} {}",
                show::paint(show::GOOD, "whole"),
                layout.root().display()
            ));
        } else {
            let word = show::paint(show::BUSY, "not whole");
            show::line(&format!(
                "{word} {}: {}",
                layout.root().display(),
                missing.join(", ")
            ));
        }
        for one in &troubles {
            show::line(&format!("{}: {}", one.kind, one.remedy));
        }
        let mut table = Table::new(["PROCESS", "PID", "RESTARTS"], "");
        for process in &fleet.processes {
            let pid = if process.pid == 0 {
                show::paint(show::BAD, "none")
            } else {
                process.pid.to_string()
            };
            table.row([process.name.clone(), pid, process.restarts.to_string()]);
        }
        table.print();
        let mut table = Table::new(["SERVICE", "LISTEN", "READY"], "");
        for service in &fleet.services {
            let listen = service
                .listen
                .map_or("-".to_owned(), |addr| addr.to_string());
            let ready = format!("{}/{}", service.ready, service.instances);
            table.row([service.name.to_string(), listen, ready]);
        }
        table.print();
        let sick: Vec<&InstanceView> = fleet
            .instances
            .iter()
            .filter(|one| one.state != State::Ready)
            .collect();
        if !sick.is_empty() {
            super::instances::table(&sick).print();
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}

/// What keeps the host from being whole.
pub fn missing(fleet: &FleetStatus) -> Vec<String> {
    let processes = fleet
        .processes
        .iter()
        .filter(|one| one.pid == 0)
        .map(|one| format!("no {}", one.name));
    let services = fleet
        .services
        .iter()
        .filter(|one| one.ready < one.instances)
        .map(|one| format!("{} has {} of {} ready", one.name, one.ready, one.instances));
    processes.chain(services).collect()
}
