//! Waiting for several open files at once, for processes without a runtime.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{OsError, Result};

/// Waits at most `longest` until one of the open files has something to read, has closed or
/// failed; says of each whether it has. All false: the time is over.
///
/// # Errors
/// [`OsError`].
pub fn readable(fds: &[BorrowedFd<'_>], longest: Duration) -> Result<Vec<bool>> {
    let mut list: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(longest.subsec_nanos()),
    };
    match poll(&mut list, Some(&timeout)) {
        // A signal is answered like the end of the time: the caller looks around and waits on.
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            Ok(list.iter().map(|fd| !fd.revents().is_empty()).collect())
        }
        Err(source) => Err(OsError::new(
            "poll",
            format_args!("{} files", fds.len()),
            source,
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn only_the_file_with_something_to_read_is_named() {
        let (a, _b) = crate::pass::pair().unwrap();
        let (c, d) = crate::pass::pair().unwrap();
        let wait = |longest| super::readable(&[a.as_fd(), c.as_fd()], longest).unwrap();
        assert_eq!(wait(Duration::ZERO), [false, false]);
        crate::pass::send(&d, b"x", &[]).unwrap();
        assert_eq!(wait(Duration::from_secs(10)), [false, true]);
    }
}
