//! One instance as the detector remembers it: a sliding window of its requests, and what
//! explains failures of it.

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Settings;

/// Slices of the window.
const SLICES: usize = 20;
/// Declared files remembered as broken.
const MAX_BROKEN: usize = 8;

/// What is remembered of an instance.
#[derive(Default, Serialize, Deserialize)]
pub struct Instance {
    pub service: String,
    pub alarm: Alarm,
    window: VecDeque<Slice>,
    /// Failures until then have an explanation.
    explained_until: u64,
    stopped: bool,
    broken: BTreeSet<String>,
    out: Option<Out>,
}

/// Since it is out of rotation. It gets hardly a request there, so no share of many will ever
/// tell: that it fails its trials does.
#[derive(Serialize, Deserialize)]
struct Out {
    since: u64,
    /// What it failed later than the requests that were in flight.
    again: Share,
}

#[derive(Serialize, Deserialize)]
struct Slice {
    begun: u64,
    at: u64,
    share: Share,
}

/// Requests and how they ended.
#[derive(Default, Clone, Serialize, Deserialize)]
pub struct Share {
    pub requests: u64,
    pub errors: u64,
    pub unanswered: u64,
    /// They were trials of an instance that is out of rotation.
    #[serde(default)]
    pub trials: bool,
}

impl Share {
    pub fn permille(&self) -> u64 {
        let failed = self.errors.saturating_add(self.unanswered);
        // The proxy counts a request when it is given out and a failure when it is known, so
        // a window may hold more failures than requests.
        (failed.saturating_mul(1_000) / self.requests.max(failed).max(1)).min(1_000)
    }
}

impl Instance {
    pub fn traffic(&mut self, seen: &Observation, settings: &Settings) {
        if self.stopped || seen.at < self.explained_until {
            return;
        }
        let (requests, errors, unanswered) = (
            seen.count("requests"),
            seen.count("errors"),
            seen.count("unanswered"),
        );
        if let Some(out) = &mut self.out
            && seen.at.saturating_sub(out.since) >= settings.ejected_for_ms
        {
            out.again.requests += requests;
            out.again.errors += errors;
            out.again.unanswered += unanswered;
        }
        let length = settings.window_ms / (SLICES as u64 - 1);
        match self.window.back_mut() {
            Some(slice) if seen.at.saturating_sub(slice.begun) < length => {
                slice.at = seen.at;
                slice.share.requests += requests;
                slice.share.errors += errors;
                slice.share.unanswered += unanswered;
            }
            _ => self.window.push_back(Slice {
                begun: seen.at,
                at: seen.at,
                share: Share {
                    requests,
                    errors,
                    unanswered,
                    trials: false,
                },
            }),
        }
        while self.window.len() > SLICES {
            self.window.pop_front();
        }
    }

    /// A death explains what failed around it.
    pub fn explained(&mut self, at: u64, settings: &Settings) {
        self.explained_until = self.explained_until.max(at + settings.explained_for_ms);
        self.window.clear();
        self.alarm.clear();
    }

    /// The load balancer took it out of rotation.
    pub fn ejected(&mut self, at: u64) {
        self.out.get_or_insert(Out {
            since: at,
            again: Share {
                trials: true,
                ..Share::default()
            },
        });
    }

    /// And put it back, which it does when a trial has passed.
    pub fn returned(&mut self) {
        self.out = None;
        self.window.clear();
        self.alarm.clear();
    }

    /// A new process answers for itself only.
    pub fn began(&mut self) {
        self.window.clear();
        self.alarm.clear();
        self.out = None;
        self.stopped = false;
    }

    pub fn process(&mut self, seen: &Observation, settings: &Settings) {
        let stopped = seen.text("state") != Some("running");
        if self.stopped && !stopped {
            self.explained(seen.at, settings);
        }
        if stopped && !self.stopped {
            self.window.clear();
            self.alarm.clear();
        }
        self.stopped = stopped;
    }

    pub fn config(&mut self, seen: &Observation, settings: &Settings) {
        let path = seen.text("path").unwrap_or("");
        if seen.flag("valid") != Some(false) {
            if self.broken.remove(path) {
                // What failed while it was broken says nothing about now.
                self.explained(seen.at, settings);
            }
        } else if self.broken.len() < MAX_BROKEN {
            self.broken.insert(path.to_owned());
        }
    }

    /// How it did in the window; none when there was too little traffic to tell, or there is
    /// an explanation.
    pub fn judge(&mut self, now: u64, settings: &Settings) -> Option<Share> {
        while self
            .window
            .front()
            .is_some_and(|slice| slice.at.saturating_add(settings.window_ms) <= now)
        {
            self.window.pop_front();
        }
        if !self.broken.is_empty() {
            self.alarm.clear();
            return None;
        }
        if let Some(out) = &self.out
            && out.again.permille() > 0
        {
            self.alarm.over(now, 0);
            return Some(out.again.clone());
        }
        let share = self
            .window
            .iter()
            .fold(Share::default(), |sum, slice| Share {
                requests: sum.requests + slice.share.requests,
                errors: sum.errors + slice.share.errors,
                unanswered: sum.unanswered + slice.share.unanswered,
                trials: false,
            });
        if share.requests < settings.min_requests {
            // Out of rotation, or nobody asks: there is no rate any more.
            if share.requests == 0 {
                self.alarm.clear();
            }
            return None;
        }
        let permille = share.permille();
        if permille >= settings.open_permille {
            self.alarm.over(now, settings.sustain_ms);
        } else if permille <= settings.close_permille {
            self.alarm.under(now, 0);
        }
        Some(share)
    }
}
