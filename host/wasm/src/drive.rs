//! Runs one call's future on the thread that made the call, until it ends or its time is up.
//! A guest that never waits costs no wake-up; one that is blocked in WASI is given up at the
//! deadline, because the future is dropped and with it the guest's stack.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub struct Driven<T> {
    /// What the future ended with; none when the deadline passed first.
    pub value: Option<T>,
    /// Time in which the future waited for something.
    pub waited: Duration,
}

/// Polls `future` on this thread until `deadline`. `on_wait` is called when
/// the future does not end at once; what it gives is held until the future ends.
pub fn until<T, G>(
    deadline: Instant,
    future: impl Future<Output = T>,
    on_wait: impl FnOnce() -> G,
) -> Driven<T> {
    let (mut on_wait, mut _held) = (Some(on_wait), None);
    let mut waited = Duration::ZERO;
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Driven {
                value: Some(value),
                waited,
            };
        }
        if let Some(on_wait) = on_wait.take() {
            _held = Some(on_wait());
        }
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun);
        if left.is_zero() {
            return Driven {
                value: None,
                waited,
            };
        }
        std::thread::park_timeout(left);
        waited += begun.elapsed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_that_never_ends_is_given_up_at_the_deadline() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let driven = until(deadline, std::future::pending::<()>(), || ());
        assert_eq!(driven.value, None);
        assert!(Instant::now() >= deadline && driven.waited >= Duration::from_millis(10));
    }

    #[test]
    fn a_future_that_is_ready_needs_no_time() {
        let driven = until(Instant::now(), std::future::ready(7), || ());
        assert_eq!(
            driven,
            Driven {
                value: Some(7),
                waited: Duration::ZERO
            }
        );
    }
}
