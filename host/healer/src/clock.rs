//! The two clocks of the healer: the wall for stamps, and a steady one for waiting and
//! measuring, which no change of the wall clock moves and which goes on over a restart of this
//! process. Nothing else here may ask the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use grace_model::TimestampMs;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, as the machine believes.
    fn wall_ms(&self) -> TimestampMs;
    /// Milliseconds since the machine was started.
    fn steady_ms(&self) -> u64;
    /// Which start of the machine the steady time counts from; empty when it is not known.
    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

/// The machine's clocks.
pub struct MachineClock {
    base_ms: u64,
    from: Instant,
}

impl MachineClock {
    /// Reads the time since boot once; from there on the process's own steady clock counts.
    #[must_use]
    pub fn new() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            base_ms: parse_uptime_ms(&uptime).unwrap_or(0),
            from: Instant::now(),
        }
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MachineClock {
    fn wall_ms(&self) -> TimestampMs {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
    fn steady_ms(&self) -> u64 {
        let since = u64::try_from(self.from.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms.saturating_add(since)
    }
}

fn parse_uptime_ms(text: &str) -> Option<u64> {
    let first = text.split_ascii_whitespace().next()?;
    let (seconds, hundredths) = first.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.get(..2)?.parse().ok()?;
    Some(seconds * 1_000 + hundredths * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_counts_from_boot_and_never_backwards() {
        assert_eq!(parse_uptime_ms("12.34 5.00\n"), Some(12_340));
        let clock = MachineClock::new();
        let first = clock.steady_ms();
        assert!(first > 0);
        assert!(clock.steady_ms() >= first);
    }
}
