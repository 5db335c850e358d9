//! Drives one detector as the host does: its memory goes out and in as bytes with every call.

use std::marker::PhantomData;

use super::fake;
use crate::detector::{self, Batch, Detector};
use crate::{Finding, Observation, Result};

/// A detector under test and its memory.
pub struct Bench<D> {
    state: Vec<u8>,
    detector: PhantomData<D>,
}

impl<D: Detector> Default for Bench<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Detector> Bench<D> {
    /// A detector that has seen nothing, with the defaults for every setting.
    #[must_use]
    pub fn new() -> Self {
        fake::reset();
        Self {
            state: Vec::new(),
            detector: PhantomData,
        }
    }

    /// With this setting.
    #[must_use]
    pub fn setting(self, key: &str, value: &str) -> Self {
        fake::world(|world| world.settings.insert(key.into(), value.into()));
        self
    }

    /// One batch. Observations without a time of their own get the batch's.
    ///
    /// # Errors
    /// What the detector says; its memory is then as before.
    pub fn try_observe(
        &mut self,
        now: u64,
        observations: impl IntoIterator<Item = Observation>,
    ) -> Result<Vec<Finding>> {
        let observations = observations
            .into_iter()
            .map(|mut seen| {
                if seen.at == 0 {
                    seen.at = now;
                }
                seen
            })
            .collect();
        let observed = detector::observe::<D>(&self.state, &Batch { now, observations })?;
        self.state = observed.state;
        Ok(observed.findings)
    }

    /// One batch that must not fail.
    ///
    /// # Panics
    /// When the detector answers with an error.
    #[allow(clippy::panic, reason = "this is for tests")]
    pub fn observe(
        &mut self,
        now: u64,
        observations: impl IntoIterator<Item = Observation>,
    ) -> Vec<Finding> {
        match self.try_observe(now, observations) {
            Ok(findings) => findings,
            Err(error) => panic!("the detector failed: {error:?}"),
        }
    }

    /// Its memory as the host keeps it.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Gives it other memory, as after an upgrade.
    pub fn set_state(&mut self, state: Vec<u8>) {
        self.state = state;
    }
}
