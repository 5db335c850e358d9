//! How an instance has been doing lately, in a few numbers. It must not know files.

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Slices of time that are kept; each is at least `horizon / SLICES` long.
const SLICES: usize = 24;

/// Recent traffic, and when something else was last wrong.
#[derive(Default, Serialize, Deserialize)]
pub struct Health {
    slices: VecDeque<Slice>,
    ill_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Slice {
    /// Of the last traffic in it.
    at: u64,
    begun: u64,
    requests: u64,
    failures: u64,
}

impl Health {
    pub fn traffic(&mut self, at: u64, requests: u64, failures: u64, horizon_ms: u64) {
        let length = horizon_ms / (SLICES as u64 - 1);
        match self.slices.back_mut() {
            Some(slice) if at.saturating_sub(slice.begun) < length => {
                slice.at = at;
                slice.requests += requests;
                slice.failures += failures;
            }
            _ => self.slices.push_back(Slice {
                at,
                begun: at,
                requests,
                failures,
            }),
        }
        while self.slices.len() > SLICES {
            self.slices.pop_front();
        }
    }

    /// A failed probe, a crash.
    pub fn ill(&mut self, at: u64) {
        self.ill_at = Some(at);
    }

    /// Requests and failures since then.
    pub fn since(&self, then: u64) -> (u64, u64) {
        self.slices
            .iter()
            .filter(|slice| slice.at >= then)
            .fold((0, 0), |(r, f), slice| {
                (r + slice.requests, f + slice.failures)
            })
    }

    /// Whether a probe failed or the process crashed since then.
    pub fn ill_since(&self, then: u64) -> bool {
        self.ill_at.is_some_and(|at| at >= then)
    }
}
