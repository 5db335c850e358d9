//! Sockets that were inherited by the `LISTEN_FDS` convention: from number 3 on, with names.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{OsError, Result};

/// The first inherited number.
pub const FIRST_FD: i32 = 3;

/// One inherited open file.
#[derive(Debug)]
pub struct Inherited {
    /// From `LISTEN_FDNAMES`; empty when it was given none.
    pub name: String,
    /// It, close-on-exec from now on.
    pub fd: OwnedFd,
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes what was inherited. Empty when nothing was, when it was meant for another pid
/// (`LISTEN_PID`), and from the second call on: an open file has one owner.
///
/// # Errors
/// [`OsError`] when a promised number is not open or the variables are no numbers.
pub fn listen_fds() -> Result<Vec<Inherited>> {
    let variable = |key: &str| std::env::var(key).ok();
    let Some(count) = variable("LISTEN_FDS") else {
        return Ok(Vec::new());
    };
    let count = number("LISTEN_FDS", &count)?;
    if let Some(pid) = variable("LISTEN_PID")
        && number("LISTEN_PID", &pid)? != i64::from(std::process::id())
    {
        return Ok(Vec::new());
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let count = i32::try_from(count).unwrap_or(0);
    let mut found = Vec::new();
    for number in (FIRST_FD..).take(usize::try_from(count).unwrap_or(0)) {
        let fd = take(number)?;
        found.push(Inherited {
            name: names.next().unwrap_or_default().to_owned(),
            fd,
        });
    }
    Ok(found)
}

fn number(key: &'static str, text: &str) -> Result<i64> {
    text.trim().parse().map_err(|_| {
        let object = format!("{key}={text:?}");
        OsError::new(
            "parse",
            object,
            std::io::Error::from(std::io::ErrorKind::InvalidData),
        )
    })
}

#[allow(unsafe_code, reason = "an inherited number has no owner yet")]
fn take(number: i32) -> Result<OwnedFd> {
    // SAFETY: `borrowed` lives only for the two fcntl calls, which fail cleanly with EBADF
    // when the number is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let failed = |source| OsError::new("fcntl", format_args!("inherited fd {number}"), source);
    rustix::io::fcntl_getfd(borrowed).map_err(failed)?;
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).map_err(failed)?;
    // SAFETY: the number is open, was given to this process by LISTEN_FDS, and `TAKEN` lets
    // this be reached once, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
