//! What a load counts.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Reasons that are kept.
const KEPT_FAILURES: usize = 20;
/// Ten minutes in microseconds; longer ones are counted as that.
const LONGEST_US: u64 = 600_000_000;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Milliseconds after the start at which it was due.
    pub at_ms: u64,
    /// Its id.
    pub id: String,
    /// Why it failed.
    pub reason: String,
}

/// What came of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Requests that were sent.
    pub sent: u64,
    /// Requests answered 200 with their own id in time.
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// Requests sent a second.
    pub rate: f64,
    /// Median latency, from the time a request was due.
    pub p50_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
    /// The longest latency, failed requests with theirs.
    pub longest_ms: u64,
    /// How late the load itself was at worst: part of the latencies, and not the server's.
    pub own_delay_ms: u64,
    /// The first failures.
    pub failures: Vec<Failure>,
}

/// How far a load is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Milliseconds since its start.
    pub at_ms: u64,
    /// Requests sent so far.
    pub sent: u64,
    /// Answered well so far.
    pub ok: u64,
    /// Failed so far.
    pub failed: u64,
    /// Sent and not ended.
    pub in_flight: u64,
    /// Median latency since the last progress.
    pub p50_us: u64,
    /// 99th percentile of it.
    pub p99_us: u64,
    /// The longest since the last progress.
    pub longest_ms: u64,
}

/// Counts.
#[derive(Debug)]
pub struct Tally {
    sent: u64,
    ok: u64,
    failed: u64,
    own_delay: Duration,
    failures: Vec<Failure>,
    all: Histogram<u64>,
    recent: Histogram<u64>,
}

impl Tally {
    pub fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        Ok(Self {
            sent: 0,
            ok: 0,
            failed: 0,
            own_delay: Duration::ZERO,
            failures: Vec::new(),
            all: histogram.clone(),
            recent: histogram,
        })
    }

    pub fn sending(&mut self, late: Duration) {
        self.sent = self.sent.saturating_add(1);
        self.own_delay = self.own_delay.max(late);
    }

    pub fn ended(
        &mut self,
        due: Duration,
        latency: Duration,
        id: String,
        result: Result<(), String>,
    ) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.all.saturating_record(us);
        self.recent.saturating_record(us);
        match result {
            Ok(()) => self.ok = self.ok.saturating_add(1),
            Err(reason) => {
                self.failed = self.failed.saturating_add(1);
                if self.failures.len() < KEPT_FAILURES {
                    self.failures.push(Failure {
                        at_ms: millis(due),
                        id,
                        reason,
                    });
                }
            }
        }
    }

    pub fn progress(&mut self, elapsed: Duration) -> Progress {
        let progress = Progress {
            at_ms: millis(elapsed),
            sent: self.sent,
            ok: self.ok,
            failed: self.failed,
            in_flight: self.in_flight(),
            p50_us: quantile(&self.recent, 0.5),
            p99_us: quantile(&self.recent, 0.99),
            longest_ms: longest_ms(&self.recent),
        };
        self.recent.reset();
        progress
    }

    pub fn in_flight(&self) -> u64 {
        self.sent
            .saturating_sub(self.ok)
            .saturating_sub(self.failed)
    }

    pub fn report(&self, sending: Duration) -> Report {
        let rate = self.sent as f64 / sending.as_secs_f64().max(0.001);
        Report {
            sent: self.sent,
            ok: self.ok,
            failed: self.failed,
            rate: (rate * 10.0).round() / 10.0,
            p50_us: quantile(&self.all, 0.5),
            p99_us: quantile(&self.all, 0.99),
            longest_ms: longest_ms(&self.all),
            own_delay_ms: millis(self.own_delay),
            failures: self.failures.clone(),
        }
    }
}

fn quantile(of: &Histogram<u64>, part: f64) -> u64 {
    if of.is_empty() {
        0
    } else {
        of.value_at_quantile(part)
    }
}

fn longest_ms(of: &Histogram<u64>) -> u64 {
    if of.is_empty() { 0 } else { of.max() / 1000 }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
