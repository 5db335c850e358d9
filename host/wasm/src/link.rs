//! The linker of one plugin: WASI's stand-ins for everybody, and of Grace's interfaces exactly
//! those that were granted. An interface that is not granted is not there to be called.

use std::sync::atomic::Ordering;

use grace_model::manifest::World;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings as wit;
use crate::engine::Machine;
use crate::grant::Capability;
use crate::state::CallState;

type This = HasSelf<CallState>;

/// A linker for a plugin of `world` that holds `granted`.
pub fn linker(
    machine: &Machine,
    world: World,
    granted: &[Capability],
) -> wasmtime::Result<Linker<CallState>> {
    machine.linked.fetch_add(1, Ordering::Relaxed);
    let mut linker = Linker::new(&machine.engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wit::types::add_to_linker::<_, This>(&mut linker, same)?;
    wit::log::add_to_linker::<_, This>(&mut linker, same)?;
    wit::config::add_to_linker::<_, This>(&mut linker, same)?;
    if world == World::Detector {
        return Ok(linker);
    }
    for capability in granted {
        match capability {
            Capability::Clock => wit::clock::add_to_linker::<_, This>(&mut linker, same)?,
            Capability::FleetRead => wit::fleet_read::add_to_linker::<_, This>(&mut linker, same)?,
            Capability::FleetControl => {
                wit::fleet_control::add_to_linker::<_, This>(&mut linker, same)?;
            }
            Capability::ConfigRead => {
                wit::config_read::add_to_linker::<_, This>(&mut linker, same)?
            }
            Capability::ConfigWrite => {
                wit::config_write::add_to_linker::<_, This>(&mut linker, same)?;
            }
            Capability::Probe => wit::probe::add_to_linker::<_, This>(&mut linker, same)?,
            Capability::Notify => wit::notify::add_to_linker::<_, This>(&mut linker, same)?,
            // Observations are shown by the healer; files and sockets are opened in the store.
            Capability::EventsRead
            | Capability::MetricsRead
            | Capability::FsRead(_)
            | Capability::FsWrite(_)
            | Capability::Net(..) => {}
        }
    }
    Ok(linker)
}

fn same(state: &mut CallState) -> &mut CallState {
    state
}
