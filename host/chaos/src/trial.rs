//! The client of a run: asks the front as long as the fault and its healing last, once each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grace_demo::client;

use crate::report::Requests;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct Seen {
    requests: Requests,
    /// When the last one failed, and the first good one after it.
    failed_at: Option<Instant>,
    good_at: Option<Instant>,
}

/// The asking thread; ends with this.
#[derive(Debug)]
pub(crate) struct Asking {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    pub(crate) fn start(front: SocketAddr, path: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (ended, kept) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let good = good(front, &path);
                let now = Instant::now();
                let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner);
                seen.requests.sent += 1;
                if good {
                    seen.good_at.get_or_insert(now);
                } else {
                    seen.requests.failed += 1;
                    seen.failed_at = Some(now);
                    seen.good_at = None;
                }
                drop(seen);
                std::thread::sleep(PAUSE);
            }
        });
        Self {
            stop,
            seen,
            thread: Some(thread),
        }
    }

    /// Whether the newest request was answered well.
    pub(crate) fn served(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.good_at.is_some()
    }

    pub(crate) fn sent(&self) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.requests.sent
    }

    /// Ends; what was asked, and when the failing ended, from `since`. Zero when none failed.
    pub(crate) fn end(mut self, since: Instant) -> (Requests, Option<Duration>) {
        self.join();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mitigated = match (seen.failed_at, seen.good_at) {
            (None, _) => Some(Duration::ZERO),
            (Some(_), Some(good)) => Some(good.saturating_duration_since(since)),
            (Some(_), None) => None,
        };
        (seen.requests.clone(), mitigated)
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.join();
    }
}

/// One request.
pub(crate) fn good(front: SocketAddr, path: &str) -> bool {
    client::get(front, path, client::LIMIT)
        .is_some_and(|answer| (200..400).contains(&answer.status))
}
