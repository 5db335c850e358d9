//! Handles of processes. A pidfd never means another process, so signals by it cannot hit a
//! stranger that got the same pid.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use grace_model::instance::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

use crate::error::{OsError, Result};
use crate::process;
use crate::signal::Signal;

/// `struct pidfd_info` of Linux 6.13, its first version; later kernels accept its size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    thread_group: u32,
    parent: u32,
    real_user: u32,
    real_group: u32,
    user: u32,
    group: u32,
    saved_user: u32,
    saved_group: u32,
    fs_user: u32,
    fs_group: u32,
    exit_code: i32,
}

const INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: u64 = (3 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | (0xFF << 8) | 11;

pub(crate) fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Opens a handle of the process that has this pid now.
///
/// # Errors
/// [`OsError`]; `is_absent` when there is none.
pub fn open(pid: u32) -> Result<OwnedFd> {
    let raw =
        pid_of(pid).ok_or_else(|| OsError::new("pidfd_open", pid, rustix::io::Errno::SRCH))?;
    rustix::process::pidfd_open(raw, PidfdFlags::empty())
        .map_err(|source| OsError::new("pidfd_open", pid, source))
}

/// Opens a handle of exactly this process; none when it is gone, reaped or its pid is
/// another's.
///
/// # Errors
/// [`OsError`] when the kernel gives no handle for another reason.
pub fn open_same(id: &ProcessId) -> Result<Option<OwnedFd>> {
    let handle = match open(id.pid) {
        Ok(handle) => handle,
        // EINVAL: the pid is a thread's by now.
        Err(error) if error.is_absent() || error.is(libc::EINVAL) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The handle holds the process, so what /proc says after it was opened is about it, or
    // about nobody.
    Ok(process::is_same(id).then_some(handle))
}

/// Sends a signal. A process that is dead already is an error with `is_absent`.
///
/// # Errors
/// [`OsError`].
pub fn send_signal(handle: impl AsFd, signal: Signal) -> Result<()> {
    let fd = handle.as_fd();
    rustix::process::pidfd_send_signal(fd, signal.raw()).map_err(|source| {
        OsError::new(
            "pidfd_send_signal",
            format_args!("{signal:?} by fd {}", fd.as_raw_fd()),
            source,
        )
    })
}

/// Whether the process is dead (a zombie counts).
///
/// # Errors
/// [`OsError`].
pub fn is_dead(handle: impl AsFd) -> Result<bool> {
    wait_dead(handle, Duration::ZERO)
}

/// Waits for the process's death at most this long; says whether it is dead.
///
/// # Errors
/// [`OsError`].
pub fn wait_dead(handle: impl AsFd, longest: Duration) -> Result<bool> {
    let end = Instant::now().checked_add(longest);
    let fd = handle.as_fd();
    loop {
        let left = end.map_or(longest, |end| end.saturating_duration_since(Instant::now()));
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(source) => return Err(OsError::new("poll", "a pidfd", source)),
        }
    }
}

/// The raw wait status of a process that was reaped by whomever: Linux 6.15 and later keep
/// it in the handle. None while it lives or is a zombie, and on an older kernel.
///
/// # Errors
/// [`OsError`] when the handle is none of a process.
#[allow(unsafe_code, reason = "no safe wrapper of this ioctl exists")]
pub fn exit_info(handle: impl AsFd) -> Result<Option<i32>> {
    let mut info = PidfdInfo {
        mask: INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the kernel writes at most the size encoded in the request number, which is
    // that of `info`, a plain struct that outlives the call.
    let result = unsafe {
        libc::ioctl(
            handle.as_fd().as_raw_fd(),
            GET_INFO as libc::Ioctl,
            &raw mut info,
        )
    };
    if result < 0 {
        let error = OsError::last("ioctl(PIDFD_GET_INFO)", "a pidfd");
        // Older kernels: no such ioctl, or no information left after reaping.
        let old = [libc::ENOTTY, libc::EINVAL, libc::ESRCH];
        return if old.iter().any(|errno| error.is(*errno)) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    Ok((info.mask & INFO_EXIT != 0).then_some(info.exit_code))
}
