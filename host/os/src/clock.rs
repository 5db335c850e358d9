//! Time that two processes of one boot agree on.

/// Milliseconds since boot, also those spent suspended. Never goes back.
#[must_use]
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let part = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    seconds.saturating_mul(1_000).saturating_add(part)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_goes_on() {
        let before = super::boot_ms();
        assert!(before > 0);
        assert!(super::boot_ms() >= before);
    }
}
