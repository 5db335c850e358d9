//! Waiting for something to become true, with an end and a word about what was missing.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Long, since no test judges speed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `holds`; panics with `what` when patience ends.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_some(what, || holds().then_some(()));
}

/// Waits until there is something; panics with `what` when patience ends.
pub fn eventually_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for: {what}"
        );
        sleep(Duration::from_millis(25));
    }
}
