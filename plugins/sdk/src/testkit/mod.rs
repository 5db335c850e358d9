//! Runs a plugin without the host: feeds batches, plays the fleet, records what was asked.
//! Only on native targets. It must not judge more kindly than the host does.
//!
//! Each test thread has a host of its own; [`Bench::new`] and [`FakeHost::start`] begin anew.

mod bench;
mod case;
pub mod fake;
mod pack;
mod world;

pub use bench::Bench;
pub use case::{Manifest, check_cases, check_manifest};
pub use pack::FakeHost;
pub use world::World;

use crate::{Field, Observation, Value};

/// An observation; its time is that of the batch unless [`Observation::seen_at`] says else.
#[must_use]
pub fn seen(kind: &str, target: &str) -> Observation {
    Observation {
        at: 0,
        target: target.into(),
        kind: kind.into(),
        fields: Vec::new(),
    }
}

impl Observation {
    /// With this field. Test kit only.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.push(Field {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Seen at another time than the batch's. Test kit only.
    #[must_use]
    pub fn seen_at(mut self, at: u64) -> Self {
        self.at = at;
        self
    }
}
