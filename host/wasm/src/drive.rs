//! Runs one call's future on the thread that made the call, until it ends or its time is up.
//! A guest that never waits costs no wake-up; one that is blocked in WASI is given up at the
//! deadline, because the future is dropped and with it the guest's stack.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` on this thread. None when the deadline passes first.
pub fn until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_future_that_never_ends_is_given_up_at_the_deadline() {
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(until(deadline, std::future::pending::<()>()), None);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_future_that_is_ready_needs_no_time() {
        assert_eq!(until(Instant::now(), std::future::ready(7)), Some(7));
    }
}
