//! The ends of one's own children. Knows wait statuses and nothing of why.

use grace_model::instance::ExitCause;

use crate::error::{OsError, Result};

/// What a wait said of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStatus {
    /// Ended by itself.
    Exited(i32),
    /// Ended by a signal.
    Signaled {
        /// The signal.
        signal: i32,
        /// Whether it left a core.
        core: bool,
    },
    /// Stopped by a signal.
    Stopped(i32),
    /// Runs again.
    Continued,
}

impl WaitStatus {
    /// From the number that wait, `/proc/PID/stat` and a pidfd give alike.
    #[must_use]
    pub fn from_raw(raw: i32) -> Self {
        if libc::WIFEXITED(raw) {
            WaitStatus::Exited(libc::WEXITSTATUS(raw))
        } else if libc::WIFSTOPPED(raw) {
            WaitStatus::Stopped(libc::WSTOPSIG(raw))
        } else if libc::WIFCONTINUED(raw) {
            WaitStatus::Continued
        } else {
            WaitStatus::Signaled {
                signal: libc::WTERMSIG(raw),
                core: libc::WCOREDUMP(raw),
            }
        }
    }

    /// Whether the child has ended.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, WaitStatus::Exited(_) | WaitStatus::Signaled { .. })
    }

    /// As an exit cause. The out-of-memory killer's SIGKILL looks like any other here: who
    /// can read the cgroup's counter must ask it. Unknown for what is no end.
    #[must_use]
    pub fn cause(self) -> ExitCause {
        match self {
            WaitStatus::Exited(code) => ExitCause::Code(code),
            WaitStatus::Signaled { signal, .. } => ExitCause::Signal(signal),
            WaitStatus::Stopped(_) | WaitStatus::Continued => ExitCause::Unknown,
        }
    }
}

/// Reaps every child that has ended, also adopted ones; never waits.
///
/// Takes the status of children that other code of this process waits for: use it only in a
/// process whose children are all yours.
///
/// # Errors
/// [`OsError`].
pub fn wait_any_nonblocking() -> Result<Vec<(u32, WaitStatus)>> {
    let mut ends = Vec::new();
    while let Some(end) = wait(-1, libc::WNOHANG)? {
        ends.push(end);
    }
    Ok(ends)
}

/// Like [`wait_any_nonblocking`], with stops and continuations too.
///
/// # Errors
/// [`OsError`].
pub fn wait_changes_nonblocking() -> Result<Vec<(u32, WaitStatus)>> {
    let mut changes = Vec::new();
    while let Some(change) = wait(-1, libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED)? {
        changes.push(change);
    }
    Ok(changes)
}

/// Reaps one child if it has ended; none while it runs or when it is no child of ours.
///
/// # Errors
/// [`OsError`].
pub fn try_wait(pid: u32) -> Result<Option<WaitStatus>> {
    Ok(wait(own(pid)?, libc::WNOHANG)?.map(|(_, status)| status))
}

/// Waits for the end of one child and reaps it; none when it is no child of ours.
///
/// # Errors
/// [`OsError`].
pub fn wait_pid(pid: u32) -> Result<Option<WaitStatus>> {
    Ok(wait(own(pid)?, 0)?.map(|(_, status)| status))
}

/// 0 and negative numbers mean groups to the kernel.
fn own(pid: u32) -> Result<i32> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| OsError::new("waitpid", pid, rustix::io::Errno::INVAL))
}

#[allow(
    unsafe_code,
    reason = "rustix has no raw status of any child without a pid type"
)]
fn wait(pid: i32, flags: i32) -> Result<Option<(u32, WaitStatus)>> {
    let mut raw = 0;
    loop {
        // SAFETY: `raw` is an int that outlives the call, which is all waitpid writes to.
        let found = unsafe { libc::waitpid(pid, &raw mut raw, flags) };
        if found > 0 {
            return Ok(Some((found.unsigned_abs(), WaitStatus::from_raw(raw))));
        }
        if found == 0 {
            return Ok(None);
        }
        let error = OsError::last("waitpid", pid);
        if error.is(libc::ECHILD) {
            return Ok(None);
        }
        if !error.is(libc::EINTR) {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_status_tells_code_signal_and_stop_apart() {
        assert_eq!(WaitStatus::from_raw(3 << 8).cause(), ExitCause::Code(3));
        assert_eq!(WaitStatus::from_raw(9).cause(), ExitCause::Signal(9));
        assert_eq!(
            WaitStatus::from_raw(6 | 0x80),
            WaitStatus::Signaled {
                signal: 6,
                core: true
            }
        );
        assert!(!WaitStatus::from_raw(0x137f).is_end());
    }

    #[test]
    fn the_end_of_a_child_is_told_once() {
        let child = crate::spawn::Spawn::new("sh")
            .args(["-c", "exit 7"])
            .start()
            .unwrap();
        assert_eq!(wait_pid(child.pid).unwrap(), Some(WaitStatus::Exited(7)));
        assert_eq!(wait_pid(child.pid).unwrap(), None);
        assert!(wait_pid(0).is_err());
    }
}
