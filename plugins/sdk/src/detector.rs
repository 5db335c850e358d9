//! Detectors: observations in, findings out. The type is its own memory, kept by the host
//! between calls. It must not know a clock: time is what the batch says.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::detector::exports::grace::plugin::detect::{Batch, Observed};

use crate::{Finding, PluginError, Result, host};

/// Turns observations into findings. The implementing type is the detector's memory: it is
/// serialised after each call and given back with the next, so keep it small (1 MiB at most)
/// and bounded ([`crate::targets::Targets`]).
pub trait Detector: Default + Serialize + DeserializeOwned {
    /// Raise it when the memory's shape changes: memory of another version is forgotten.
    const STATE_VERSION: u8 = 1;

    /// What is wrong, judged at `batch.now`. A batch may be empty: time has passed.
    ///
    /// # Errors
    /// The memory stays as it was, and the batch is lost to this detector.
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>>;
}

/// One call as the host makes it: memory in, memory out.
///
/// # Errors
/// What the detector says, or that its memory cannot be written.
pub fn observe<D: Detector>(state: &[u8], batch: &Batch) -> Result<Observed> {
    let mut detector = restore::<D>(state);
    let findings = detector.observe(batch)?;
    let mut state = Vec::from([D::STATE_VERSION]);
    state = postcard::to_extend(&detector, state).map_err(|error| {
        PluginError::Other(alloc::format!(
            "the detector's memory cannot be kept: {error}"
        ))
    })?;
    Ok(Observed { state, findings })
}

fn restore<D: Detector>(state: &[u8]) -> D {
    let Some((version, body)) = state.split_first() else {
        return D::default();
    };
    if *version == D::STATE_VERSION
        && let Ok(detector) = postcard::from_bytes(body)
    {
        return detector;
    }
    host::log::warn("memory of another version of this detector was forgotten");
    D::default()
}

/// Exports a [`Detector`] as the component's world. Write `export_detector!(Name)` in a crate
/// without `std`, `export_detector!(Name, std)` in one with it.
#[macro_export]
macro_rules! export_detector {
    ($name:ident) => {
        $crate::__runtime!();
        $crate::export_detector!($name, std);
    };
    ($name:ident, std) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings::detector::exports::grace::plugin::detect;

            struct Component;

            impl detect::Guest for Component {
                fn observe(
                    state: detect::State,
                    batch: detect::Batch,
                ) -> $crate::Result<detect::Observed> {
                    $crate::detector::observe::<$name>(&state, &batch)
                }
            }

            $crate::bindings::detector::export!(
                Component with_types_in $crate::bindings::detector
            );
        };
    };
}
