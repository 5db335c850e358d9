//! The line before a service's instances on one thread: who comes first, the more important
//! before the others and otherwise in the order of coming. It wakes the first when there may be
//! room for him; he looks for himself. It knows ranks and wakers, no requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Rank and number.
type Key = (u8, u64);

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: RefCell<BTreeMap<Key, Turn>>,
    next: Cell<u64>,
}

#[derive(Debug, Default)]
struct Turn {
    waker: Option<Waker>,
    called: bool,
}

/// A place in the line, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    line: Rc<Line>,
    key: Key,
}

impl Line {
    /// Whether somebody waits before whom one of this rank may not go.
    pub(crate) fn is_before(&self, rank: u8) -> bool {
        let waiting = self.waiting.borrow();
        waiting
            .first_key_value()
            .is_some_and(|(key, _)| key.0 <= rank)
    }

    /// The last place among those of this rank.
    pub(crate) fn stand(self: &Rc<Self>, rank: u8) -> Place {
        let key = (rank, self.next.get());
        self.next.set(key.1.wrapping_add(1));
        self.waiting.borrow_mut().insert(key, Turn::default());
        Place {
            line: Rc::clone(self),
            key,
        }
    }

    /// There may be room: the first is to look.
    pub(crate) fn call(&self) {
        if let Some(mut first) = self.waiting.borrow_mut().first_entry() {
            let turn = first.get_mut();
            turn.called = true;
            if let Some(waker) = turn.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Place {
    pub(crate) fn is_first(&self) -> bool {
        let waiting = self.line.waiting.borrow();
        waiting
            .first_key_value()
            .is_some_and(|(key, _)| *key == self.key)
    }

    /// Resolves when it was called, also if that was before.
    pub(crate) async fn called(&self) {
        poll_fn(|cx| {
            let mut waiting = self.line.waiting.borrow_mut();
            match waiting.get_mut(&self.key) {
                Some(turn) if !turn.called => {
                    turn.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Some(turn) => {
                    turn.called = false;
                    Poll::Ready(())
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_first = self.is_first();
        self.line.waiting.borrow_mut().remove(&self.key);
        if was_first {
            self.line.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn is_called(place: &Place) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(place.called()).poll(&mut cx).is_ready()
    }

    #[test]
    fn the_important_come_first_and_the_others_in_the_order_of_coming() {
        let line = Rc::new(Line::default());
        assert!(!line.is_before(2));
        let low = line.stand(2);
        let one = line.stand(1);
        let two = line.stand(1);
        assert!(line.is_before(1) && line.is_before(2) && !line.is_before(0));
        let high = line.stand(0);
        assert!(line.is_before(0));
        let mut order = vec![(high, "high"), (one, "one"), (two, "two"), (low, "low")];
        while !order.is_empty() {
            for (place, name) in &order {
                assert!(!is_called(place), "{name}");
            }
            line.call();
            let called: Vec<bool> = order.iter().map(|(place, _)| is_called(place)).collect();
            assert_eq!(called.iter().filter(|it| **it).count(), 1);
            assert!(called[0], "{}", order[0].1);
            let (gone, _) = order.remove(0);
            drop(gone);
            // Who leaves calls the next one, as there may be more room.
            if let Some((next, name)) = order.first() {
                assert!(next.is_first() && is_called(next), "{name}");
            }
        }
        assert!(!line.is_before(2));
        line.call();
    }

    #[test]
    fn who_gives_up_in_the_middle_calls_nobody() {
        let line = Rc::new(Line::default());
        let first = line.stand(0);
        let second = line.stand(0);
        drop(second);
        assert!(!is_called(&first) && first.is_first());
    }
}
