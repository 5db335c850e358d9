//! Room on the machine: tests run side by side, but a few need it for themselves, since they say
//! what no load may do.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Hosts that run, and whether a test has the machine for itself.
static TAKEN: Mutex<(usize, bool)> = Mutex::new((0, false));
static FREED: Condvar = Condvar::new();

fn taken() -> MutexGuard<'static, (usize, bool)> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host beside others.
#[derive(Debug)]
pub struct Place(());

impl Place {
    pub fn take() -> Self {
        let mut taken = taken();
        while taken.1 {
            taken = FREED.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.0 += 1;
        Self(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        taken().0 -= 1;
        FREED.notify_all();
    }
}

/// The machine for one test. Whoever has it starts no `Host`.
#[derive(Debug)]
#[must_use = "it is given back when dropped"]
pub struct Alone(());

/// Waits until no host runs, and keeps others from starting.
pub fn alone() -> Alone {
    let mut taken = taken();
    while taken.1 || taken.0 > 0 {
        taken = FREED.wait(taken).unwrap_or_else(PoisonError::into_inner);
    }
    taken.1 = true;
    Alone(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        taken().1 = false;
        FREED.notify_all();
    }
}
