//! The last minute of traffic, as the load balancer told it. In memory only: after a restart of
//! the healer the window begins anew, and its true length is told with every answer.

use std::collections::VecDeque;

use grace_model::event::{Event, What};
use grace_model::port::HostAnswer;

/// How far back questions may go.
pub const KEPT_MS: u64 = 60_000;
/// More windows than a minute of 256 instances at four a second; older ones go first.
const KEPT: usize = 65_536;

/// The memory of traffic.
#[derive(Debug, Default)]
pub struct TrafficWindow {
    seen: VecDeque<Slice>,
    since_ms: Option<u64>,
}

#[derive(Debug)]
struct Slice {
    at: u64,
    instance: String,
    service: String,
    requests: u64,
    failures: u64,
    p50_us: u64,
    p99_us: u64,
}

impl TrafficWindow {
    /// From when on it looks. Traffic before is not known.
    pub fn began(&mut self, now: u64) {
        self.since_ms.get_or_insert(now);
    }

    /// Takes note of an event; those of other kinds are no matter.
    pub fn note(&mut self, event: &Event) {
        let What::Traffic {
            subject,
            requests,
            errors,
            unanswered,
            p50_us,
            p99_us,
            ..
        } = &event.what
        else {
            return;
        };
        self.seen.push_back(Slice {
            at: event.at,
            instance: subject.instance.0.clone(),
            service: subject.service.0.clone(),
            requests: *requests,
            failures: errors.saturating_add(*unanswered),
            p50_us: *p50_us,
            p99_us: *p99_us,
        });
        let oldest = event.at.saturating_sub(KEPT_MS);
        while self.seen.len() > KEPT || self.seen.front().is_some_and(|s| s.at < oldest) {
            self.seen.pop_front();
        }
    }

    /// The figures of an instance or a service over the last `window_ms`, and how much of that
    /// was really seen. The percentiles are those of the slices, weighted by their requests: the
    /// 99th is never told better than the slice it comes from.
    #[must_use]
    pub fn answer(&self, target: &str, window_ms: u64, now: u64) -> HostAnswer {
        let window_ms = window_ms.min(KEPT_MS);
        let from = now.saturating_sub(window_ms);
        let slices: Vec<&Slice> = self
            .seen
            .iter()
            .filter(|s| s.at > from && (s.instance == target || s.service == target))
            .collect();
        let seen_ms = self.since_ms.map_or(0, |since| now.saturating_sub(since));
        HostAnswer::Traffic {
            window_ms: window_ms.min(seen_ms),
            requests: slices.iter().map(|s| s.requests).sum(),
            failures: slices.iter().map(|s| s.failures).sum(),
            p50_us: weighted(slices.iter().map(|s| (s.p50_us, s.requests)).collect(), 500),
            p99_us: weighted(slices.iter().map(|s| (s.p99_us, s.requests)).collect(), 990),
        }
    }
}

/// The value that `permille` of the weight is at or below; 0 for none.
fn weighted(mut values: Vec<(u64, u64)>, permille: u64) -> u64 {
    values.sort_unstable();
    let total: u64 = values.iter().map(|(_, weight)| weight).sum();
    let wanted = (total.saturating_mul(permille)).div_ceil(1_000);
    let mut sum = 0;
    for (value, weight) in values {
        sum += weight;
        if weight > 0 && sum >= wanted {
            return value;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use grace_model::event::Subject;

    use super::*;

    fn slice(at: u64, instance: &str, requests: u64, errors: u64, p99_us: u64) -> Event {
        let subject = Subject {
            instance: instance.into(),
            service: "shop".into(),
            generation: 1,
        };
        let what = What::Traffic {
            subject,
            window_ms: 250,
            requests,
            errors,
            unanswered: 0,
            p50_us: 10,
            p99_us,
            inflight: 0,
        };
        Event { at, what }
    }

    #[test]
    fn a_window_tells_its_true_length_and_only_what_is_in_it() {
        let mut window = TrafficWindow::default();
        window.began(100_000);
        window.note(&slice(100_250, "shop-1", 10, 10, 99));
        window.note(&slice(102_000, "shop-1", 99, 0, 50));
        window.note(&slice(102_000, "shop-2", 1, 1, 700));
        let answer = window.answer("shop-1", 1_000, 102_100);
        assert_eq!(
            answer,
            HostAnswer::Traffic {
                window_ms: 1_000,
                requests: 99,
                failures: 0,
                p50_us: 10,
                p99_us: 50
            }
        );
        let HostAnswer::Traffic {
            window_ms,
            requests,
            failures,
            ..
        } = window.answer("shop", 60_000, 102_100)
        else {
            panic!("another answer")
        };
        assert_eq!((window_ms, requests, failures), (2_100, 110, 11));
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let mut window = TrafficWindow::default();
        window.note(&slice(1_000, "shop-1", 1, 0, 1));
        window.note(&slice(62_000, "shop-1", 1, 0, 1));
        assert_eq!(window.seen.len(), 1);
    }

    #[test]
    fn no_traffic_is_zero_and_no_panic() {
        let window = TrafficWindow::default();
        let HostAnswer::Traffic {
            window_ms,
            requests,
            p99_us,
            ..
        } = window.answer("shop", 5_000, 10)
        else {
            panic!("another answer")
        };
        assert_eq!((window_ms, requests, p99_us), (0, 0, 0));
    }
}
