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

/// Time that this thread has had a processor; none where the system does not tell.
fn on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let ns = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(ns))
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub struct Driven<T> {
    /// What the future ended with; none when the deadline passed first.
    pub value: Option<T>,
    /// Time in which the future waited for something.
    pub waited: Duration,
    /// Time in which the future had a processor, from when it did not end at once; none when it
    /// did, or where the system does not tell. On a busy machine it is less than the time that
    /// passed and was not waited.
    pub ran: Option<Duration>,
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
    let mut before = None;
    let ran = |before: Option<Duration>| Some(on_processor()?.saturating_sub(before?));
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Driven {
                value: Some(value),
                waited,
                ran: ran(before),
            };
        }
        if let Some(on_wait) = on_wait.take() {
            _held = Some(on_wait());
            before = on_processor();
        }
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun);
        if left.is_zero() {
            return Driven {
                value: None,
                waited,
                ran: ran(before),
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
    fn a_future_that_computes_is_told_from_one_that_waits() {
        let begun = Instant::now();
        let deadline = begun + Duration::from_millis(200);
        let busy = std::future::poll_fn(|context| {
            let slice = Instant::now() + Duration::from_millis(1);
            while Instant::now() < slice {}
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let busy = until(deadline, busy, || ());
        let idle = until(
            Instant::now() + Duration::from_millis(50),
            std::future::pending::<()>(),
            || (),
        );
        if let (Some(busy), Some(idle)) = (busy.ran, idle.ran) {
            assert!(busy > Duration::ZERO && busy <= begun.elapsed());
            assert!(idle < Duration::from_millis(50), "{idle:?}");
        }
    }

    #[test]
    fn a_future_that_is_ready_needs_no_time() {
        let driven = until(Instant::now(), std::future::ready(7), || ());
        assert_eq!(
            driven,
            Driven {
                value: Some(7),
                waited: Duration::ZERO,
                ran: None,
            }
        );
    }
}
