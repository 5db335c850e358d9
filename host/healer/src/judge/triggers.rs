//! The kernel `triggers`: every tick it reads the journals, looks at files and resources, and
//! has each detector judge what it may see. It decides nothing itself.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use grace_ledger::Queries;
use grace_model::config::Healing;
use grace_model::layout::Layout;
use grace_model::plugin::{Batch, Finding, Observation, PluginError};
use grace_model::port::{CallFailure, DetectorView};

use super::recognizer::{Judged, Recognizer};
use crate::error::Result;
use crate::heal::Reach;
use crate::kernel::Pulse;
use crate::signal::convert::{self, Capability, capability_of, observation};
use crate::signal::journals::{Journals, News};
use crate::signal::traffic::TrafficWindow;

/// A detector is called at least this often: that nothing was seen is a fact too.
const CALL_MS: u64 = 1_000;
/// Places and states without a finding are stored this often.
const STORE_MS: u64 = 1_000;
/// A tick later than this means that the judge itself did not run.
const LATE_MS: u64 = 1_000;
/// After an error that the next tick will meet again.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What the kernel is made of.
pub struct Parts {
    /// Everything that is reached.
    pub reach: Arc<Reach>,
    /// Where findings go.
    pub recognizer: Arc<Recognizer>,
    /// Where the journals are.
    pub layout: Layout,
    /// Tick and sample times.
    pub healing: Healing,
    /// Rung when an incident was opened.
    pub bell: Arc<dyn Fn() + Send + Sync>,
}

/// One life of the kernel.
pub struct Triggers<'p> {
    parts: &'p Parts,
    journals: Journals,
    detectors: HashMap<String, Memory>,
    sampled_ms: Option<u64>,
    stored_ms: u64,
    unstored: bool,
}

#[derive(Debug, Default)]
struct Memory {
    state: Vec<u8>,
    changed: bool,
    called_ms: Option<u64>,
    /// So that a detector that fails at every call is logged once.
    failing: bool,
}

impl<'p> Triggers<'p> {
    /// Goes on from what the ledger holds.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn resume(parts: &'p Parts) -> Result<Self> {
        let ledger = parts.reach.desk.ledger();
        Ok(Self {
            journals: Journals::open(&parts.layout, ledger)?,
            parts,
            detectors: HashMap::new(),
            sampled_ms: None,
            stored_ms: parts.reach.clock.steady_ms(),
            unstored: false,
        })
    }

    /// The kernel's body.
    ///
    /// # Errors
    /// When the ledger cannot be read at the start.
    pub fn live(mut self, pulse: &Pulse) -> Result<()> {
        let tick_ms = self.parts.healing.tick_ms.max(1);
        let clock = Arc::clone(&self.parts.reach.clock);
        self.traffic(|traffic, wall| traffic.began(wall));
        let mut due_ms = clock.steady_ms();
        while !pulse.stopping() {
            pulse.beat();
            let now_ms = clock.steady_ms();
            let late_ms = now_ms.saturating_sub(due_ms);
            match self.tick(pulse, late_ms) {
                Ok(true) => due_ms = clock.steady_ms(),
                Ok(false) => {
                    due_ms = now_ms + tick_ms;
                    let left = due_ms.saturating_sub(clock.steady_ms());
                    pulse.rest(Duration::from_millis(left));
                }
                Err(e) => {
                    tracing::error!(cause = %e, "a round of detectors was not stored; it is made again");
                    pulse.rest(AFTER_ERROR);
                    // What was judged and not stored is forgotten, and judged again.
                    self.traffic(|traffic, wall| {
                        *traffic = TrafficWindow::default();
                        traffic.began(wall);
                    });
                    self = Self {
                        sampled_ms: self.sampled_ms,
                        ..Self::resume(self.parts)?
                    };
                    due_ms = clock.steady_ms();
                }
            }
        }
        if self.unstored {
            self.store(Vec::new(), Vec::new())?;
        }
        Ok(())
    }

    /// One round. Whether there is more to read at once.
    fn tick(&mut self, pulse: &Pulse, late_ms: u64) -> Result<bool> {
        let (wall, now_ms) = (
            self.parts.reach.clock.wall_ms(),
            self.parts.reach.clock.steady_ms(),
        );
        let news = self.journals.read()?;
        let mut seen: Vec<Observation> = Vec::new();
        if late_ms > LATE_MS {
            tracing::warn!(late_ms, "the judge itself did not run");
            seen.push(convert::stalled(wall, late_ms));
        }
        self.take_in(&news, &mut seen);
        let mut files = self.sample(now_ms);
        seen.append(&mut files);
        // While catching up, time is that of what is read, not of the wall.
        let judged_at = match news.events.last() {
            Some(last) if news.more => last.at,
            _ => wall,
        };
        let findings = self.judge(judged_at, now_ms, &seen, pulse);
        self.unstored |= !news.events.is_empty() || self.detectors.values().any(|m| m.changed);
        let due = self.unstored && now_ms.saturating_sub(self.stored_ms) >= STORE_MS;
        if due || !findings.is_empty() || !news.gaps.is_empty() {
            self.store(findings, news.gaps)?;
        }
        Ok(news.more)
    }

    fn take_in(&mut self, news: &News, seen: &mut Vec<Observation>) {
        if news.events.is_empty() {
            return;
        }
        self.traffic(|traffic, _| {
            for event in &news.events {
                traffic.note(event);
            }
        });
        seen.extend(news.events.iter().filter_map(observation));
    }

    fn traffic(&self, work: impl FnOnce(&mut TrafficWindow, u64)) {
        let wall = self.parts.reach.clock.wall_ms();
        let mut traffic = self
            .parts
            .reach
            .traffic
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut traffic, wall);
    }

    fn sample(&mut self, now_ms: u64) -> Vec<Observation> {
        let every = self.parts.healing.sample_ms.max(1);
        if self
            .sampled_ms
            .is_some_and(|last| now_ms.saturating_sub(last) < every)
        {
            return Vec::new();
        }
        self.sampled_ms = Some(now_ms);
        let reach = &self.parts.reach;
        let instances = reach.instances();
        let sampled = reach.files.sample(&instances);
        for path in sampled.baselines {
            tracing::info!(path, "the file is good: its first good copy was taken");
        }
        let mut seen = sampled.observations;
        let mut gauges = reach.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(gauges.news());
        seen
    }

    fn judge(
        &mut self,
        at: u64,
        now_ms: u64,
        seen: &[Observation],
        pulse: &Pulse,
    ) -> Vec<(String, Finding)> {
        let mut findings = Vec::new();
        let plugins = Arc::clone(&self.parts.reach.plugins);
        for detector in plugins.detectors() {
            let visible: Vec<Observation> = seen
                .iter()
                .filter(|o| may_see(&detector, &o.kind))
                .cloned()
                .collect();
            let memory = match self.memory_of(&detector.name) {
                Ok(memory) => memory,
                Err(e) => {
                    tracing::error!(detector = detector.name, cause = %e, "its state cannot be read");
                    continue;
                }
            };
            let called = memory.called_ms;
            let idle = called.is_some_and(|last| now_ms.saturating_sub(last) < CALL_MS);
            if visible.is_empty() && idle {
                continue;
            }
            memory.called_ms = Some(now_ms);
            let batch = Batch {
                now: at,
                observations: visible,
            };
            let observed = plugins.observe(&detector.name, &memory.state, &batch);
            pulse.worked(1);
            match observed {
                Ok(observed) => {
                    memory.failing = false;
                    if observed.state != memory.state {
                        memory.state = observed.state;
                        memory.changed = true;
                    }
                    let name = &detector.name;
                    findings.extend(observed.findings.into_iter().map(|f| (name.clone(), f)));
                }
                Err(failure) => memory.failed(&detector.name, &failure),
            }
        }
        findings
    }

    fn memory_of(&mut self, detector: &str) -> Result<&mut Memory> {
        if !self.detectors.contains_key(detector) {
            let ledger = self.parts.reach.desk.ledger();
            let state = ledger.detector_state(detector)?.unwrap_or_default();
            let memory = Memory {
                state,
                ..Memory::default()
            };
            self.detectors.insert(detector.to_owned(), memory);
        }
        Ok(self.detectors.entry(detector.to_owned()).or_default())
    }

    fn store(
        &mut self,
        findings: Vec<(String, Finding)>,
        gaps: Vec<(&'static str, Option<u64>, &'static str)>,
    ) -> Result<()> {
        let reach = &self.parts.reach;
        let with_service = |said: (String, Finding)| (reach.service_of(&said.1.target), said);
        let states = self
            .detectors
            .iter()
            .filter(|(_, memory)| memory.changed)
            .map(|(name, memory)| (name.clone(), memory.state.clone()))
            .collect();
        let judged = Judged {
            cursors: self.journals.cursors(),
            states,
            findings: findings.into_iter().map(with_service).collect(),
            gaps,
        };
        let told = self.parts.recognizer.tell(judged)?;
        for memory in self.detectors.values_mut() {
            memory.changed = false;
        }
        self.unstored = false;
        self.stored_ms = reach.clock.steady_ms();
        if told.opened > 0 {
            (self.parts.bell)();
        }
        Ok(())
    }
}

impl Memory {
    fn failed(&mut self, detector: &str, failure: &CallFailure) {
        if !self.failing {
            tracing::warn!(detector, cause = %failure, "a detector gave no answer; its batch is lost to it");
        }
        self.failing = true;
        // A new version may not understand what the old one remembered: it begins anew.
        if matches!(failure, CallFailure::Plugin(PluginError::InvalidInput(_)))
            && !self.state.is_empty()
        {
            self.state.clear();
            self.changed = true;
        }
    }
}

fn may_see(detector: &DetectorView, kind: &str) -> bool {
    match capability_of(kind) {
        Some(Capability::Events) => detector.events,
        Some(Capability::Metrics) => detector.metrics,
        None => false,
    }
}
