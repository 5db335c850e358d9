//! Tells memory that grows without end from memory that grew and is content: a few samples of
//! a window, evenly spaced.

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Samples of a window.
const SAMPLES: usize = 13;

/// The samples, oldest first.
#[derive(Default, Serialize, Deserialize)]
pub struct Growth {
    samples: VecDeque<(u64, u64)>,
}

impl Growth {
    /// Keeps a sample if the last one is old enough.
    pub fn sample(&mut self, at: u64, bytes: u64, window_ms: u64) {
        let step = window_ms / (SAMPLES as u64 - 1);
        if self
            .samples
            .back()
            .is_some_and(|(last, _)| at.saturating_sub(*last) < step)
        {
            return;
        }
        self.samples.push_back((at, bytes));
        while self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// The oldest sample.
    pub fn first(&self) -> Option<u64> {
        self.samples.front().map(|(_, bytes)| *bytes)
    }

    /// By how much it grew, if it grew by enough over the whole window, never gave any back,
    /// and grew in the last third no slower than half the average.
    pub fn without_end(&self, window_ms: u64, permille: u64, bytes: u64) -> Option<u64> {
        let (begun, first) = self.samples.front()?;
        let (ended, last) = self.samples.back()?;
        if ended.saturating_sub(*begun) < window_ms / 10 * 9 {
            return None;
        }
        let grown = last.checked_sub(*first)?;
        if grown < bytes.max(1) || grown.saturating_mul(1_000) < first.saturating_mul(permille) {
            return None;
        }
        // A percent less is noise of the measure, not memory given back.
        let gave_back = self
            .samples
            .iter()
            .zip(self.samples.iter().skip(1))
            .any(|((_, before), (_, after))| *after < before - before / 100);
        let (_, two_thirds) = self.samples.get(self.samples.len() * 2 / 3)?;
        let lately = last.saturating_sub(*two_thirds);
        (!gave_back && lately.saturating_mul(6) >= grown).then_some(grown)
    }
}
