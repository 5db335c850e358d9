//! The healer's own supervised parts: a thread each, with a heartbeat, a restart after a panic
//! or an error, a backoff that resets after healthy time and a budget in a window. It must not
//! know what a kernel does.
//!
//! A kernel that used up its budget, or whose heart stopped, ends the whole process on purpose
//! ([`House::verdict`]): the supervisor starts it again with clean memory, and everything that
//! matters is in the ledger.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use grace_model::status::Kernel;

use crate::clock::Clock;

/// Restarts that a kernel may use up in [`WINDOW_MS`].
const BUDGET: usize = 5;
const WINDOW_MS: u64 = 60_000;
const BACKOFF_MIN_MS: u64 = 50;
const BACKOFF_MAX_MS: u64 = 5_000;
/// Running for this long, the backoff starts from the beginning.
const HEALTHY_MS: u64 = 10_000;
/// A heart silent for this long has stopped. Longer than any single wait of a kernel.
const HEART_MS: u64 = 60_000;

/// What a kernel is.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// How much stops when it stops; see [`Kernel::tier`].
    pub tier: u8,
    /// Kernels that must run first.
    pub depends_on: &'static [&'static str],
}

/// A kernel's link to its house.
pub struct Pulse {
    spec: Spec,
    clock: Arc<dyn Clock>,
    state: AtomicU8,
    beat_ms: AtomicU64,
    restarts: AtomicU64,
    work: AtomicU64,
    stop: Arc<Stop>,
    /// Something to do came in.
    bell: (Mutex<bool>, Condvar),
}

struct Stop {
    flag: AtomicBool,
}

const RUNNING: u8 = 0;
const BACKOFF: u8 = 1;
const FAILED: u8 = 2;
const STOPPED: u8 = 3;

impl Pulse {
    /// A sign of life.
    pub fn beat(&self) {
        self.beat_ms
            .store(self.clock.steady_ms(), Ordering::Relaxed);
    }

    /// Counts things done; a sign of life too.
    pub fn worked(&self, things: u64) {
        self.work.fetch_add(things, Ordering::Relaxed);
        self.beat();
    }

    /// Whether the kernel shall end.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stop.flag.load(Ordering::Acquire)
    }

    /// Waits until the bell rings, at most `time`; a sign of life before and after.
    pub fn rest(&self, time: Duration) {
        self.beat();
        let mut rung = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rung && !self.stopping() {
            rung = self
                .bell
                .1
                .wait_timeout(rung, time)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *rung = false;
        drop(rung);
        self.beat();
    }

    /// Wakes the kernel from its rest, or lets it skip the next one.
    pub fn ring(&self) {
        *self.bell.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.1.notify_all();
    }

    fn view(&self, process: &str) -> Kernel {
        let state = match self.state.load(Ordering::Relaxed) {
            RUNNING => "running",
            BACKOFF => "backoff",
            FAILED => "failed",
            _ => "stopped",
        };
        Kernel {
            name: self.spec.name.to_owned(),
            process: process.to_owned(),
            tier: self.spec.tier,
            state: state.to_owned(),
            depends_on: self
                .spec
                .depends_on
                .iter()
                .map(|&name| name.to_owned())
                .collect(),
            heartbeat_age_ms: self
                .clock
                .steady_ms()
                .saturating_sub(self.beat_ms.load(Ordering::Relaxed)),
            restarts: self.restarts.load(Ordering::Relaxed),
            work_done: self.work.load(Ordering::Relaxed),
        }
    }
}

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelFailure {
    /// Too many restarts in the window.
    #[error("kernel {kernel} was restarted {BUDGET} times within a minute; last cause: {cause}")]
    Budget {
        /// Which.
        kernel: String,
        /// The last panic or error.
        cause: String,
    },
    /// The ledger must be opened anew, which salvages it.
    #[error("the ledger is damaged, and the next healer salvages it: {cause}")]
    Damaged {
        /// What does not verify.
        cause: String,
    },
    /// No heartbeat.
    #[error("kernel {kernel} gave no sign of life for {age_ms} ms")]
    Heart {
        /// Which.
        kernel: String,
        /// For how long.
        age_ms: u64,
    },
}

/// A kernel and its thread, until somebody waits for that.
type Housed = (Arc<Pulse>, Option<JoinHandle<()>>);

/// All kernels of this process.
pub struct House {
    clock: Arc<dyn Clock>,
    stop: Arc<Stop>,
    kernels: Mutex<Vec<Housed>>,
    failure: Arc<Mutex<Option<KernelFailure>>>,
}

impl House {
    /// An empty house.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            stop: Arc::new(Stop {
                flag: AtomicBool::new(false),
            }),
            kernels: Mutex::new(Vec::new()),
            failure: Arc::new(Mutex::new(None)),
        }
    }

    /// Starts a kernel. `body` runs until it is told to stop; when it returns or panics before,
    /// it is run again.
    ///
    /// # Errors
    /// When a kernel it depends on was not started, or the machine gives no thread.
    pub fn start(
        &self,
        spec: Spec,
        mut body: impl FnMut(&Pulse) -> Result<(), String> + Send + 'static,
    ) -> Result<Arc<Pulse>, String> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        for needed in spec.depends_on {
            if !kernels.iter().any(|(pulse, _)| pulse.spec.name == *needed) {
                return Err(format!(
                    "kernel {} needs {needed}, which does not run",
                    spec.name
                ));
            }
        }
        let pulse = Arc::new(Pulse {
            spec: spec.clone(),
            clock: Arc::clone(&self.clock),
            state: AtomicU8::new(RUNNING),
            beat_ms: AtomicU64::new(self.clock.steady_ms()),
            restarts: AtomicU64::new(0),
            work: AtomicU64::new(0),
            stop: Arc::clone(&self.stop),
            bell: (Mutex::new(false), Condvar::new()),
        });
        let own = Arc::clone(&pulse);
        let failure = Arc::clone(&self.failure);
        let thread = std::thread::Builder::new()
            .name(spec.name.to_owned())
            .spawn(move || live(&own, &failure, &mut body))
            .map_err(|e| format!("no thread for kernel {}: {e}", spec.name))?;
        kernels.push((Arc::clone(&pulse), Some(thread)));
        Ok(pulse)
    }

    /// The kernels as they are.
    #[must_use]
    pub fn views(&self, process: &str) -> Vec<Kernel> {
        let kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        kernels
            .iter()
            .map(|(pulse, _)| pulse.view(process))
            .collect()
    }

    /// Why the process must end, if it must.
    #[must_use]
    pub fn verdict(&self) -> Option<KernelFailure> {
        if let Some(failure) = &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some(failure.clone());
        }
        self.views("")
            .into_iter()
            .find(|kernel| kernel.state == "running" && kernel.heartbeat_age_ms > HEART_MS)
            .map(|kernel| KernelFailure::Heart {
                kernel: kernel.name,
                age_ms: kernel.heartbeat_age_ms,
            })
    }

    /// Counts every heart as having beaten now: the judge itself did not run, so it cannot tell.
    pub fn forgive(&self) {
        let kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        for (pulse, _) in kernels.iter() {
            pulse.beat();
        }
    }

    /// Tells every kernel to end and waits for them, last first: what a kernel depends on ends
    /// after it.
    pub fn stop(&self) {
        self.stop.flag.store(true, Ordering::Release);
        let mut threads = Vec::new();
        {
            let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            for (pulse, thread) in kernels.iter_mut().rev() {
                pulse.ring();
                threads.extend(thread.take());
            }
        }
        for thread in threads {
            let _panics_are_caught_inside = thread.join();
        }
    }
}

fn live(
    pulse: &Pulse,
    failure: &Mutex<Option<KernelFailure>>,
    body: &mut dyn FnMut(&Pulse) -> Result<(), String>,
) {
    let mut ends: Vec<u64> = Vec::new();
    let mut backoff_ms = BACKOFF_MIN_MS;
    loop {
        pulse.state.store(RUNNING, Ordering::Relaxed);
        pulse.beat();
        let began = pulse.clock.steady_ms();
        let cause = match catch_unwind(AssertUnwindSafe(|| body(pulse))) {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(cause)) => cause,
            Err(panic) => panic_text(panic.as_ref()),
        };
        if pulse.stopping() {
            break;
        }
        let now = pulse.clock.steady_ms();
        ends.retain(|&end| now.saturating_sub(end) < WINDOW_MS);
        ends.push(now);
        tracing::error!(kernel = pulse.spec.name, %cause, "a kernel ended; it is started again");
        if ends.len() > BUDGET {
            pulse.state.store(FAILED, Ordering::Relaxed);
            let kernel = pulse.spec.name.to_owned();
            *failure.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(KernelFailure::Budget { kernel, cause });
            return;
        }
        if now.saturating_sub(began) >= HEALTHY_MS {
            backoff_ms = BACKOFF_MIN_MS;
        }
        pulse.state.store(BACKOFF, Ordering::Relaxed);
        let until = now.saturating_add(backoff_ms);
        while !pulse.stopping() && pulse.clock.steady_ms() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        backoff_ms = (backoff_ms * 2).min(BACKOFF_MAX_MS);
        pulse.restarts.fetch_add(1, Ordering::Relaxed);
    }
    pulse.state.store(STOPPED, Ordering::Relaxed);
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of unknown kind".to_owned());
    format!("panic: {text}")
}

#[cfg(test)]
mod tests;
