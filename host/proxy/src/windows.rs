//! Traffic per instance and window, put together from what the threads hand in.

use std::collections::HashMap;
use std::sync::Arc;

use grace_model::event::What;
use grace_model::report::Counts;
use hdrhistogram::Histogram;

use crate::endpoint::Endpoint;
use crate::lane::{LaneWindow, histogram};

/// Windows that wait for the last thread.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    seq: u64,
    waiting: Vec<bool>,
    sums: HashMap<u64, Sum>,
}

#[derive(Debug)]
struct Sum {
    end: Arc<Endpoint>,
    counts: Counts,
    inflight: u64,
    first_byte: Option<Histogram<u32>>,
}

impl Sum {
    /// The end of a body that was under way is no traffic of its own.
    fn is_told(&self) -> bool {
        let counts = &self.counts;
        counts.requests + counts.errors + counts.unanswered + self.inflight > 0
    }
}

impl Windows {
    /// Begins the collecting of a window from so many threads.
    pub(crate) fn begin(&mut self, seq: u64, threads: usize) {
        self.seq = seq;
        self.waiting = vec![true; threads];
    }

    /// Adds what a thread handed in; true when it was the last one. A thread that was late hands
    /// in with the next window.
    pub(crate) fn add(&mut self, thread: usize, seq: u64, lanes: Vec<LaneWindow>) -> bool {
        for lane in lanes {
            let sum = self.sums.entry(lane.end.id).or_insert_with(|| Sum {
                end: lane.end,
                counts: Counts::default(),
                inflight: 0,
                first_byte: histogram(),
            });
            sum.counts.add(&lane.counts);
            sum.inflight += lane.inflight;
            if let (Some(all), Some(part)) = (&mut sum.first_byte, &lane.first_byte) {
                // Both were made with the same bounds.
                let _ = all.add(&**part);
            }
        }
        if seq == self.seq
            && let Some(waiting) = self.waiting.get_mut(thread)
        {
            *waiting = false;
        }
        !self.waiting.is_empty() && !self.waiting.contains(&true)
    }

    /// What each endpoint did in the window, and what it has in flight.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&Arc<Endpoint>, &Counts, u64)> {
        let sums = self.sums.values();
        sums.map(|sum| (&sum.end, &sum.counts, sum.inflight))
    }

    /// The window's events.
    pub(crate) fn take(&mut self, window_ms: u64) -> Vec<What> {
        self.waiting.clear();
        let percentile = |sum: &Sum, share: f64| {
            sum.first_byte
                .as_ref()
                .map_or(0, |all| all.value_at_quantile(share))
        };
        self.sums
            .drain()
            .filter(|(_, sum)| sum.is_told())
            .map(|(_, sum)| What::Traffic {
                subject: sum.end.subject.clone(),
                window_ms,
                requests: sum.counts.requests,
                errors: sum.counts.errors,
                unanswered: sum.counts.unanswered,
                p50_us: percentile(&sum, 0.5),
                p99_us: percentile(&sum, 0.99),
                inflight: sum.inflight,
            })
            .collect()
    }

    /// Whether a window is being collected.
    pub(crate) fn pending(&self) -> bool {
        !self.waiting.is_empty()
    }
}
