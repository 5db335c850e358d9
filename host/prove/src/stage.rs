//! What trials stand on: the binary, how long they wait, whether they are to end.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(30);
/// How long a proof waits for what must happen; long, since a proof is no measurement.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a control waits at least until it believes that nothing happens.
const DOUBT: Duration = Duration::from_secs(8);
/// The same with `--quick`.
const QUICK_DOUBT: Duration = Duration::from_secs(4);

/// What a trial is given.
#[derive(Debug)]
pub struct Stage {
    /// The `grace` binary.
    pub grace: PathBuf,
    /// A component that can misbehave.
    pub component: Option<&'static [u8]>,
    /// Fewer faults.
    pub quick: bool,
    patience: Duration,
    /// The longest wait of this stage that was not in vain.
    longest: Cell<Duration>,
    stop: Arc<AtomicBool>,
}

impl Stage {
    /// For a proof.
    #[must_use]
    pub fn new(options: &crate::Options) -> Self {
        Self {
            grace: options.grace.clone(),
            component: options.component,
            quick: options.quick,
            patience: PATIENCE,
            longest: Cell::new(Duration::ZERO),
            stop: Arc::clone(&options.stop),
        }
    }

    /// For the control of a proof that was made on this stage: it waits at least twice as long as
    /// the proof had to, so that "it did not happen" is not "it was not waited for".
    #[must_use]
    pub fn for_control(&self) -> Self {
        let least = if self.quick { QUICK_DOUBT } else { DOUBT };
        Self {
            grace: self.grace.clone(),
            component: self.component,
            quick: self.quick,
            patience: least.max(self.longest.get() * 2),
            longest: Cell::new(Duration::ZERO),
            stop: Arc::clone(&self.stop),
        }
    }

    /// How long this stage waits.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Tells of a wait that was not in vain, and that this stage did not make itself.
    pub fn waited(&self, took: Duration) {
        self.longest.set(self.longest.get().max(took));
    }

    /// Waits until `holds`, and tells whether it came to that, and after how long.
    ///
    /// # Errors
    /// When the whole is to end.
    pub fn until(&self, mut holds: impl FnMut() -> bool) -> Result<Option<Duration>> {
        let begun = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                bail!("it was interrupted");
            }
            if holds() {
                let took = begun.elapsed();
                self.waited(took);
                return Ok(Some(took));
            }
            if begun.elapsed() >= self.patience {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until there is something; an error says what was waited for in vain. For what both
    /// variants need before they begin.
    ///
    /// # Errors
    /// When it does not come, or the whole is to end.
    pub fn need<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                bail!("it was interrupted");
            }
            if let Some(found) = look() {
                return Ok(found);
            }
            if begun.elapsed() >= PATIENCE {
                bail!("waited {PATIENCE:?} in vain for {what}");
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        Stage::new(&crate::Options {
            quick: true,
            ..crate::Options::default()
        })
    }

    #[test]
    fn a_control_waits_at_least_twice_as_long_as_the_proof_had_to() {
        let stage = stage();
        assert_eq!(stage.for_control().patience(), QUICK_DOUBT);
        stage.longest.set(Duration::from_secs(7));
        assert_eq!(stage.for_control().patience(), Duration::from_secs(14));
        let mut looks = 0;
        let took = stage.until(|| {
            looks += 1;
            looks == 3
        });
        assert!(took.is_ok_and(|took| took.is_some_and(|took| took >= LOOK * 2)));
    }

    #[test]
    fn whoever_interrupts_ends_every_wait() {
        let stage = stage();
        stage.stop.store(true, Ordering::Relaxed);
        assert!(stage.until(|| true).is_err());
        assert!(stage.need("nothing", || Some(1)).is_err());
    }
}
