//! Coarse deadlines: one ticker a thread instead of one timer a request. It knows tasks to wake
//! and times, nothing of requests. The ticker stands still while nobody waits.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How coarse: deadlines are tens of milliseconds and more.
const TICK: Duration = Duration::from_millis(10);

/// The waiting tasks of one thread.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<usize>>,
    waiting: Cell<usize>,
    parked: Cell<bool>,
    start: Notify,
}

#[derive(Debug)]
struct Slot {
    due: Instant,
    waker: Waker,
}

/// One task's place on the wheel, given back when dropped.
struct Alarm<'w> {
    wheel: &'w Wheel,
    key: Option<usize>,
}

impl Wheel {
    /// Ticks for ever.
    pub(crate) async fn turn(self: Rc<Self>) {
        loop {
            if self.waiting.get() == 0 {
                self.parked.set(true);
                self.start.notified().await;
                self.parked.set(false);
            }
            tokio::time::sleep(TICK).await;
            let now = Instant::now();
            for slot in self.slots.borrow().iter().flatten() {
                if slot.due <= now {
                    slot.waker.wake_by_ref();
                }
            }
        }
    }

    /// What `work` comes to, or none when `due` has passed before.
    pub(crate) async fn until<F: Future>(
        &self,
        mut work: Pin<&mut F>,
        due: Instant,
    ) -> Option<F::Output> {
        let mut alarm = Alarm {
            wheel: self,
            key: None,
        };
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if alarm.is_due(cx, due) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Alarm<'_> {
    fn is_due(&mut self, cx: &Context<'_>, due: Instant) -> bool {
        if let Some(key) = self.key {
            if let Some(Some(slot)) = self.wheel.slots.borrow_mut().get_mut(key) {
                slot.waker.clone_from(cx.waker());
            }
            return Instant::now() >= due;
        }
        let slot = Slot {
            due,
            waker: cx.waker().clone(),
        };
        let mut slots = self.wheel.slots.borrow_mut();
        let free = self.wheel.free.borrow_mut().pop();
        match free.and_then(|key| slots.get_mut(key).map(|place| (key, place))) {
            Some((key, place)) => {
                *place = Some(slot);
                self.key = Some(key);
            }
            None => {
                self.key = Some(slots.len());
                slots.push(Some(slot));
            }
        }
        self.wheel.waiting.set(self.wheel.waiting.get() + 1);
        if self.wheel.parked.get() {
            self.wheel.start.notify_one();
        }
        false
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        if let Some(place) = self.wheel.slots.borrow_mut().get_mut(key) {
            *place = None;
        }
        self.wheel.free.borrow_mut().push(key);
        self.wheel
            .waiting
            .set(self.wheel.waiting.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn work_that_ends_in_time_gives_its_output_and_its_place_back() {
        run(async {
            let wheel = Rc::new(Wheel::default());
            tokio::task::spawn_local(Rc::clone(&wheel).turn());
            let work = std::pin::pin!(async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                7
            });
            let due = Instant::now() + Duration::from_secs(30);
            assert_eq!(wheel.until(work, due).await, Some(7));
            assert_eq!(wheel.waiting.get(), 0);
        });
    }

    #[test]
    fn work_that_never_ends_is_left_at_its_deadline() {
        run(async {
            let wheel = Rc::new(Wheel::default());
            tokio::task::spawn_local(Rc::clone(&wheel).turn());
            for _ in 0..3 {
                let work = std::pin::pin!(std::future::pending::<()>());
                let start = Instant::now();
                let due = start + Duration::from_millis(30);
                assert_eq!(wheel.until(work, due).await, None);
                assert!(Instant::now() >= due);
            }
            assert_eq!(wheel.slots.borrow().len(), 1, "the place was used again");
        });
    }
}
