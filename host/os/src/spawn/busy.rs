//! Trying again what is only momentarily impossible: a program that was written and is started
//! at once is "busy" as long as any process has it open for writing, and that may be a child
//! that another thread has just forked and that has not reached its own exec. Knows no files.

use std::time::Duration;

use super::child::Failure;

/// First pause; each is twice the one before.
const FIRST: Duration = Duration::from_millis(1);

/// Tries beyond the first: pauses of 127 ms together. A child reaches its exec within a few
/// milliseconds, and whoever starts waits here.
const AGAIN: u32 = 7;

/// Calls `start` until it succeeds, fails otherwise than by a busy program, or was called
/// often enough.
pub(super) fn again(
    mut start: impl FnMut() -> Result<u32, Failure>,
    mut pause: impl FnMut(Duration),
) -> Result<u32, Failure> {
    let mut length = FIRST;
    for _ in 0..AGAIN {
        match start() {
            Err(failure) if failure.is_busy() => {}
            other => return other,
        }
        pause(length);
        length = length.saturating_mul(2);
    }
    start()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;

    use super::super::child::Step;
    use super::*;
    use crate::error::OsError;

    fn failure(step: Step, errno: i32) -> Failure {
        Failure::Child {
            step,
            source: io::Error::from_raw_os_error(errno),
        }
    }

    #[test]
    fn a_busy_program_is_tried_again_a_few_times_with_longer_pauses() {
        let calls = Cell::new(0);
        let pauses = RefCell::new(Vec::new());
        let start = || {
            calls.set(calls.get() + 1);
            Err(failure(Step::Exec, libc::ETXTBSY))
        };
        let ended = again(start, |length| pauses.borrow_mut().push(length.as_millis()));
        assert!(ended.unwrap_err().is_busy());
        assert_eq!(calls.get(), 8);
        assert_eq!(pauses.into_inner(), [1, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn a_program_that_is_free_by_then_is_started_and_nothing_else_is_tried_again() {
        let calls = Cell::new(0);
        let start = || {
            calls.set(calls.get() + 1);
            if calls.get() < 3 {
                Err(failure(Step::Exec, libc::ETXTBSY))
            } else {
                Ok(7)
            }
        };
        assert_eq!(again(start, |_| {}).unwrap(), 7);
        assert_eq!(calls.get(), 3);
        for other in [
            failure(Step::Exec, libc::ENOEXEC),
            failure(Step::Directory, libc::ETXTBSY),
            Failure::Parent(OsError::new("fork", "a child", rustix::io::Errno::AGAIN)),
        ] {
            let mut once = Some(other);
            let ended = again(
                || Err(once.take().expect("it is tried once")),
                |_| panic!("it does not wait"),
            );
            assert!(!ended.unwrap_err().is_busy());
        }
    }
}
