//! What host interfaces answer with: instances, files, probes, traffic.

use grace_model::instance::{InstanceView, Role, State};
use grace_model::port::ConfigFileView;

use crate::bindings::{config_read, fleet_read};

pub fn instance_out(view: InstanceView) -> fleet_read::Instance {
    fleet_read::Instance {
        id: view.id.0,
        service: view.service.0,
        pid: view.pid,
        port: view.port,
        role: match view.role {
            Role::Active => fleet_read::Role::Active,
            Role::Hot => fleet_read::Role::Hot,
            Role::Warm => fleet_read::Role::Warm,
            Role::Sandbox => fleet_read::Role::Sandbox,
        },
        state: match view.state {
            State::Starting => fleet_read::State::Starting,
            State::Ready => fleet_read::State::Ready,
            State::Degraded => fleet_read::State::Degraded,
            State::Draining => fleet_read::State::Draining,
            State::Quarantined => fleet_read::State::Quarantined,
            State::Healing => fleet_read::State::Healing,
            State::Paused => fleet_read::State::Paused,
            State::Stopped => fleet_read::State::Stopped,
            State::Failed => fleet_read::State::Failed,
        },
        weight: view.weight,
        generation: view.generation,
        uptime_ms: view.uptime_ms,
    }
}

pub fn file_out(file: ConfigFileView) -> config_read::File {
    config_read::File {
        path: file.path,
        hash: file.hash,
        good_hash: file.good_hash,
        problem: file.problem,
    }
}
