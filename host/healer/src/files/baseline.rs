//! The first good copy of each declared file: taken at the first sight of a ready instance, and
//! told to whoever waits for it. Until there is one, a broken file cannot be put back.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::PoisonError;

use grace_ledger::{Queries, Reader};
use grace_model::config::Config;
use grace_model::id::InstanceId;
use grace_model::instance::{InstanceView, State};
use grace_model::layout::Layout;

use super::{Files, declared, good_key, look};

/// Processes that were seen ready: one look each, at once; later changes the sampler sees.
#[derive(Debug, Default)]
pub(super) struct Greeted(HashSet<(InstanceId, u64)>);

/// What a look at the fleet gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Files whose first good copy was taken now.
    pub taken: Vec<String>,
    /// An instance with a file that has no good copy yet is still about to get ready.
    pub awaited: bool,
}

impl Files {
    /// Takes the first good copies of instances that are seen ready for the first time.
    pub fn guard(&self, instances: &[InstanceView]) -> Guarded {
        let mut guarded = Guarded::default();
        let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        greeted.0.retain(|(id, generation)| {
            instances
                .iter()
                .any(|view| view.id == *id && view.generation == *generation)
        });
        for view in instances {
            let key = (view.id.clone(), view.generation);
            if greeted.0.contains(&key) || !self.lacks_a_copy(&view.id) {
                continue;
            }
            if view.state != State::Ready {
                guarded.awaited |= view.state == State::Starting;
                continue;
            }
            match self.baseline(&view.id) {
                Ok(paths) => {
                    guarded.taken.extend(paths);
                    greeted.0.insert(key);
                }
                // A full disk: tried again at the next look.
                Err(e) => tracing::warn!(instance = %view.id, cause = %e, "no first good copy"),
            }
        }
        guarded
    }

    fn lacks_a_copy(&self, id: &InstanceId) -> bool {
        self.declared(id)
            .iter()
            .any(|file| !file.is_artifact() && !matches!(self.good(file), Ok(Some(_))))
    }
}

/// Declared files of these instances that are as they should be and have no good copy yet, so
/// that they could not be put back if they broke now. For a process that is not the healer.
#[must_use]
pub fn unguarded(config: &Config, layout: &Layout, instances: &[InstanceView]) -> Vec<PathBuf> {
    let sound: Vec<_> = instances
        .iter()
        .filter(|view| view.state == State::Ready)
        .flat_map(|view| declared(&config.services, layout, &view.id))
        .filter(|file| !file.is_artifact() && look(file).1.is_none())
        .collect();
    if sound.is_empty() {
        return Vec::new();
    }
    // A ledger that cannot be read yet guards nothing.
    let ledger = Reader::open(&layout.ledger()).ok();
    let marked = |key: &str| {
        let ledger = ledger.as_ref()?;
        ledger.get(key).ok().flatten()
    };
    sound
        .into_iter()
        .filter(|file| marked(&good_key(file)).is_none())
        .map(|file| file.path)
        .collect()
}
