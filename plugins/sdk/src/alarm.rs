//! A threshold with patience: raised when something was over for a while, lowered when it was
//! clearly under for a while, reported now and then in between. It must not know what is
//! measured; the two thresholds are the caller's.

use serde::{Deserialize, Serialize};

/// The memory of one threshold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    over_since: Option<u64>,
    under_since: Option<u64>,
    raised: bool,
    reported: Option<u64>,
}

impl Alarm {
    /// Seen over the upper threshold. Raised once that lasts for `sustain_ms`.
    pub fn over(&mut self, at: u64, sustain_ms: u64) {
        self.under_since = None;
        let since = *self.over_since.get_or_insert(at);
        if at.saturating_sub(since) >= sustain_ms {
            self.raised = true;
        }
    }

    /// Seen under the lower threshold. Lowered once that lasts for `sustain_ms`.
    pub fn under(&mut self, at: u64, sustain_ms: u64) {
        self.over_since = None;
        let since = *self.under_since.get_or_insert(at);
        if at.saturating_sub(since) >= sustain_ms {
            self.clear();
        }
    }

    /// Seen between the two: neither lasts.
    pub fn between(&mut self) {
        self.over_since = None;
        self.under_since = None;
    }

    /// Lowered at once, for example because the process is a new one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised
    }

    /// Whether to report it now: when it was just raised, and again every `repeat_ms` while it
    /// lasts. Answering yes counts as reported.
    pub fn due(&mut self, now: u64, repeat_ms: u64) -> bool {
        let due = self.raised
            && self
                .reported
                .is_none_or(|last| now.saturating_sub(last) >= repeat_ms);
        if due {
            self.reported = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_only_when_it_lasts_and_reported_now_and_then() {
        let mut alarm = Alarm::default();
        alarm.over(1_000, 500);
        assert!(!alarm.due(1_000, 2_000));
        alarm.between();
        alarm.over(1_600, 500);
        assert!(!alarm.is_raised());
        alarm.over(2_100, 500);
        assert!(alarm.due(2_100, 2_000));
        assert!(!alarm.due(4_000, 2_000));
        assert!(alarm.due(4_100, 2_000));
    }

    #[test]
    fn it_is_lowered_only_when_that_lasts_too_and_then_starts_anew() {
        let mut alarm = Alarm::default();
        alarm.over(1_000, 0);
        alarm.under(2_000, 500);
        alarm.over(2_200, 0);
        alarm.under(2_300, 500);
        assert!(alarm.is_raised());
        alarm.under(2_800, 500);
        assert!(!alarm.is_raised());
        alarm.over(3_000, 0);
        assert!(alarm.due(3_000, 60_000));
    }
}
