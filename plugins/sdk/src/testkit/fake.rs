//! The imports of a plugin under test, with the signatures of the real ones. It must not know
//! which plugin calls.

use std::cell::RefCell;

use super::world::World;
use crate::{PluginError, Result};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

/// Looks at or changes the fake host's world of this thread.
pub fn world<T>(look: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with(|world| look(&mut world.borrow_mut()))
}

pub(crate) fn reset() {
    world(|world| *world = World::default());
}

pub(crate) fn note_setting(key: &str, default: &str) {
    world(|world| world.asked.insert(key.into(), default.into()));
}

fn effect(name: &str, line: String) -> Result<()> {
    world(|world| {
        allowed(world, name)?;
        world.effects.push(line);
        Ok(())
    })
}

fn allowed(world: &World, name: &str) -> Result<()> {
    match world.refusals.get(name) {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

fn missing(what: &str, name: &str) -> PluginError {
    PluginError::NotApplicable(format!("there is no {what} {name:?}"))
}

#[allow(missing_docs, reason = "each is documented in wit/host.wit")]
pub mod log {
    pub use crate::bindings::action::grace::plugin::log::Level;

    pub fn emit(level: Level, message: &str) {
        super::world(|world| world.lines.push(format!("{level:?}: {message}")));
    }
}

#[allow(missing_docs, reason = "each is documented in wit/host.wit")]
pub mod config {
    #[must_use]
    pub fn get(key: &str) -> Option<String> {
        super::world(|world| world.settings.get(key).cloned())
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod clock {
    use super::{PluginError, Result, allowed, world};

    #[must_use]
    pub fn now() -> u64 {
        world(|world| world.now)
    }

    pub fn sleep_ms(ms: u32) -> Result<()> {
        world(|world| {
            allowed(world, "sleep-ms")?;
            let until = world.now + u64::from(ms);
            if world.deadline.is_some_and(|deadline| until > deadline) {
                return Err(PluginError::TimedOut(
                    "the call's wall clock would pass".into(),
                ));
            }
            world.advance(until);
            Ok(())
        })
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod fleet_read {
    use super::{Result, allowed, missing, world};
    use crate::host::Instance;

    pub fn get_instance(id: &str) -> Result<Instance> {
        world(|world| {
            allowed(world, "get-instance")?;
            world
                .instances
                .get(id)
                .cloned()
                .ok_or_else(|| missing("instance", id))
        })
    }

    pub fn list_instances(service: &str) -> Result<Vec<Instance>> {
        world(|world| {
            let found: Vec<_> = world
                .instances
                .values()
                .filter(|instance| instance.service == service)
                .cloned()
                .collect();
            if found.is_empty() {
                Err(missing("service", service))
            } else {
                Ok(found)
            }
        })
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod fleet_control {
    use super::{Result, effect, fleet_read, world};
    use crate::host::{State, StopMode};

    pub fn restart(id: &str, mode: StopMode, _reason: &str) -> Result<u64> {
        fleet_read::get_instance(id)?;
        let mode = match mode {
            StopMode::Graceful => "graceful",
            StopMode::Kill => "kill",
        };
        effect("restart", format!("restart {id} {mode}"))?;
        world(|world| {
            let Some(instance) = world.instances.get_mut(id) else {
                return Ok(0);
            };
            instance.generation += 1;
            instance.state = State::Starting;
            instance.uptime_ms = 0;
            Ok(instance.generation)
        })
    }

    pub fn pause(id: &str, _reason: &str) -> Result<()> {
        set("pause", id, State::Paused)
    }

    pub fn resume(id: &str, _reason: &str) -> Result<()> {
        set("resume", id, State::Ready)
    }

    pub fn drain(id: &str, _reason: &str) -> Result<()> {
        set("drain", id, State::Draining)
    }

    pub fn quarantine(id: &str, _reason: &str) -> Result<()> {
        set("quarantine", id, State::Quarantined)
    }

    pub fn release(id: &str, _reason: &str) -> Result<()> {
        set("release", id, State::Ready)
    }

    pub fn scale(service: &str, instances: u32, _reason: &str) -> Result<u32> {
        let before = fleet_read::list_instances(service)?.len();
        effect("scale", format!("scale {service} {instances}"))?;
        world(|world| {
            let wanted: Vec<_> = (1..=instances).map(|n| format!("{service}-{n}")).collect();
            world
                .instances
                .retain(|id, instance| instance.service != service || wanted.contains(id));
            for id in &wanted {
                world.instance(id, State::Starting);
            }
        });
        Ok(u32::try_from(before).unwrap_or(u32::MAX))
    }

    fn set(name: &str, id: &str, state: State) -> Result<()> {
        fleet_read::get_instance(id)?;
        effect(name, format!("{name} {id}"))?;
        world(|world| world.set_state(id, state));
        Ok(())
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod config_read {
    use super::super::world::hash;
    use super::{Result, missing, world};
    use crate::host::File;

    pub fn files(id: &str) -> Result<Vec<File>> {
        world(|world| {
            if !world.instances.contains_key(id) {
                return Err(missing("instance", id));
            }
            let declared = world.files.iter().filter(|((owner, _), _)| owner == id);
            Ok(declared
                .map(|((_, path), file)| File {
                    path: path.clone(),
                    hash: file.bytes.as_deref().map(hash).unwrap_or_default(),
                    good_hash: file.good.as_deref().map(hash).unwrap_or_default(),
                    problem: file.problem(),
                })
                .collect())
        })
    }

    pub fn read(id: &str, path: &str) -> Result<Vec<u8>> {
        world(|world| {
            let bytes = world.bytes(id, path).ok_or_else(|| missing("file", path))?;
            Ok(bytes.as_bytes().to_vec())
        })
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod config_write {
    use super::super::world::{FakeFile, hash};
    use super::{PluginError, Result, effect, missing, world};

    fn change<T>(
        id: &str,
        path: &str,
        change: impl FnOnce(&mut FakeFile) -> Result<T>,
    ) -> Result<T> {
        world(|world| {
            let key = (id.to_owned(), path.to_owned());
            change(
                world
                    .files
                    .get_mut(&key)
                    .ok_or_else(|| missing("declared file", path))?,
            )
        })
    }

    pub fn snapshot(id: &str, path: &str) -> Result<String> {
        let hash = change(id, path, |file| match file.problem() {
            Some(problem) => Err(PluginError::InvalidInput(problem)),
            None => {
                file.good.clone_from(&file.bytes);
                Ok(file.good.as_deref().map(hash).unwrap_or_default())
            }
        })?;
        effect("snapshot", format!("snapshot {id} {path}"))?;
        Ok(hash)
    }

    pub fn restore(id: &str, path: &str) -> Result<Option<String>> {
        let replaced = change(id, path, |file| {
            let good = file.good.clone().ok_or_else(|| {
                PluginError::NotApplicable(format!("there is no good copy of {path}"))
            })?;
            if file.bytes.as_ref() == Some(&good) {
                return Ok(None);
            }
            Ok(Some(file.bytes.replace(good).unwrap_or_default()))
        })?;
        effect("restore", format!("restore {id} {path}"))?;
        Ok(replaced.map(|bytes| {
            let key = hash(&bytes);
            world(|world| world.kept.insert(key.clone(), bytes));
            key
        }))
    }

    pub fn put_back(id: &str, path: &str, hash: &str) -> Result<()> {
        let bytes = world(|world| world.kept.get(hash).cloned())
            .ok_or_else(|| missing("replaced copy", hash))?;
        change(id, path, |file| {
            file.bytes = Some(bytes);
            Ok(())
        })?;
        effect("put-back", format!("put-back {id} {path}"))
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod probe {
    use super::{Result, allowed, missing, world};
    use crate::host::{Answer, Traffic};

    pub fn http(id: &str, _path: &str, timeout_ms: u32) -> Result<Answer> {
        declared(id, timeout_ms)
    }

    pub fn declared(id: &str, timeout_ms: u32) -> Result<Answer> {
        world(|world| {
            allowed(world, "probe")?;
            let answers = world
                .answers
                .get_mut(id)
                .ok_or_else(|| missing("instance", id))?;
            let answer = match answers.len() {
                0 | 1 => answers.front().cloned(),
                _ => answers.pop_front(),
            };
            let answer = answer.ok_or_else(|| missing("answer for", id))??;
            if answer.status == 0 {
                world.advance(world.now + u64::from(timeout_ms));
            }
            Ok(answer)
        })
    }

    pub fn traffic_of(target: &str, _window_ms: u32) -> Result<Traffic> {
        world(|world| {
            allowed(world, "traffic-of")?;
            Ok(world.traffic.get(target).copied().unwrap_or(Traffic {
                window_ms: 0,
                requests: 0,
                failures: 0,
                p50_us: 0,
                p99_us: 0,
            }))
        })
    }
}

#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "each is documented in wit/host.wit"
)]
pub mod notify {
    use super::{Result, effect};
    use crate::Severity;

    pub fn send(channel: &str, severity: Severity, subject: &str, text: &str) -> Result<()> {
        effect(
            "send",
            format!("send {channel} {} {subject}: {text}", severity.word()),
        )
    }
}
