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
    /// The longest time between two good answers, less what the load itself was late in it.
    pub longest_gap_us: u64,
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
    /// When the last good answer had come, from the start.
    last_ok: Option<Duration>,
    /// How late the load was at worst since then.
    late_since: Duration,
    longest_gap: Duration,
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
            last_ok: None,
            late_since: Duration::ZERO,
            longest_gap: Duration::ZERO,
            failures: Vec::new(),
            all: histogram.clone(),
            recent: histogram,
        })
    }

    pub fn sending(&mut self, late: Duration) {
        self.sent = self.sent.saturating_add(1);
        self.own_delay = self.own_delay.max(late);
        self.late_since = self.late_since.max(late);
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
            Ok(()) => {
                self.ok = self.ok.saturating_add(1);
                self.answered(due.saturating_add(latency));
            }
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

    fn answered(&mut self, at: Duration) {
        if let Some(last) = self.last_ok {
            let gap = at.saturating_sub(last).saturating_sub(self.late_since);
            self.longest_gap = self.longest_gap.max(gap);
        }
        self.last_ok = Some(at);
        self.late_since = Duration::ZERO;
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
            longest_gap_us: u64::try_from(self.longest_gap.as_micros()).unwrap_or(LONGEST_US),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_time_without_a_good_answer_less_what_the_load_was_late() {
        let ms = Duration::from_millis;
        let mut tally = Tally::new().expect("bounds");
        let mut ended = |due: u64, latency: u64, late: u64, good: bool| {
            tally.sending(ms(late));
            let result = if good { Ok(()) } else { Err(String::new()) };
            tally.ended(ms(due), ms(latency), String::new(), result);
            tally.report(ms(1_000)).longest_gap_us / 1_000
        };
        assert_eq!(ended(0, 1, 0, true), 0);
        assert_eq!(ended(5, 1, 0, true), 5);
        // What failed is no answer: from 6 to 22.
        assert_eq!(ended(10, 1, 0, false), 5);
        assert_eq!(ended(20, 2, 0, true), 16);
        // 40 ms, 30 of which nothing was asked.
        assert_eq!(ended(30, 32, 30, true), 16);
        assert_eq!(ended(63, 20, 0, true), 21);
    }
}
