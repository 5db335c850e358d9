//! Action pack `fleet`: changes to instances. It must not know why they are changed.
//!
//! No action asks for the state before and skips its effect when it is there already: after a
//! crash of the host the same call comes again, finds its own effect, and must still leave the
//! receipt by which it can be undone. The host's operation ids keep the effect single.

#![cfg_attr(target_family = "wasm", no_std)]

mod describe;
mod restart;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::action::unknown;
use grace_plugin_sdk::fleet::word;
use grace_plugin_sdk::host::Instance;
use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The pack.
pub struct Fleet;

/// How to take back what was done.
#[derive(Serialize, Deserialize)]
enum Undo {
    Resume { id: String },
    Release { id: String },
    Scale { service: String, instances: u32 },
}

impl ActionPack for Fleet {
    fn describe() -> Vec<ActionInfo> {
        describe::actions()
    }

    fn plan(call: &Call) -> Result<Vec<String>> {
        match call.action.as_str() {
            "fleet.restart" => restart::plan(call),
            "fleet.scale" => {
                let (service, wanted) = (call.need_text("service")?, wanted_instances(call)?);
                let now = host::fleet::list_instances(service)?.len();
                Ok(vec![format!(
                    "scale {service} from {now} to {wanted} instances"
                )])
            }
            "fleet.pause" => one(call, "take it out of rotation, then SIGSTOP"),
            "fleet.resume" => one(call, "SIGCONT; back in rotation when its probe passes"),
            "fleet.drain" => one(call, "give it no new requests, wait for those in flight"),
            "fleet.quarantine" => one(call, "take it out of rotation and leave it running"),
            "fleet.release" => one(call, "put it back in rotation when its probe passes"),
            other => Err(unknown(other)),
        }
    }

    fn run(call: &Call) -> Result<Receipt> {
        let reason = call.reason();
        match call.action.as_str() {
            "fleet.restart" => restart::run(call),
            "fleet.scale" => {
                let (service, wanted) = (call.need_text("service")?, wanted_instances(call)?);
                let before = host::fleet::scale(service, wanted, &reason)?;
                let undo = Undo::Scale {
                    service: service.to_owned(),
                    instances: before,
                };
                receipt(
                    before != wanted,
                    format!("scaled {service} from {before} to {wanted} instances"),
                )
                .output("before", before)
                .output("instances", wanted)
                .undo_with(&undo)
            }
            "fleet.pause" => {
                let id = call.need_text("target")?;
                host::fleet::pause(id, &reason)?;
                receipt(true, format!("paused {id}")).undo_with(&Undo::Resume { id: id.to_owned() })
            }
            "fleet.drain" => {
                let id = call.need_text("target")?;
                host::fleet::drain(id, &reason)?;
                receipt(true, format!("drained {id}"))
                    .undo_with(&Undo::Release { id: id.to_owned() })
            }
            "fleet.quarantine" => {
                let id = call.need_text("target")?;
                host::fleet::quarantine(id, &reason)?;
                receipt(true, format!("quarantined {id}"))
                    .undo_with(&Undo::Release { id: id.to_owned() })
            }
            "fleet.resume" => {
                let id = call.need_text("target")?;
                host::fleet::resume(id, &reason)?;
                Ok(receipt(true, format!("resumed {id}")))
            }
            "fleet.release" => {
                let id = call.need_text("target")?;
                host::fleet::release(id, &reason)?;
                Ok(receipt(true, format!("released {id}")))
            }
            other => Err(unknown(other)),
        }
    }

    fn undo(action: &str, receipt: &Receipt) -> Result<()> {
        let reason = format!("undo of {action}");
        let undone = match receipt.undo_data::<Undo>()? {
            None => Ok(()),
            Some(Undo::Resume { id }) => host::fleet::resume(&id, &reason),
            Some(Undo::Release { id }) => host::fleet::release(&id, &reason),
            Some(Undo::Scale { service, instances }) => {
                host::fleet::scale(&service, instances, &reason).map(drop)
            }
        };
        match undone {
            // What is gone needs no taking back.
            Err(PluginError::NotApplicable(_)) => Ok(()),
            other => other,
        }
    }
}

fn one(call: &Call, effect: &str) -> Result<Vec<String>> {
    let instance = host::fleet::get_instance(call.need_text("target")?)?;
    Ok(vec![format!("{}: {effect}", as_it_is(&instance))])
}

fn as_it_is(instance: &Instance) -> String {
    format!(
        "{} ({}, pid {})",
        instance.id,
        word(instance.state),
        instance.pid
    )
}

fn wanted_instances(call: &Call) -> Result<u32> {
    let wanted = call.need_count("instances")?;
    if wanted > 256 {
        return Err(PluginError::InvalidInput(format!(
            "fleet.scale: instances must be 0 to 256, not {wanted}"
        )));
    }
    Ok(wanted)
}

export_action!(Fleet);
