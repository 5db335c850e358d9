//! The child's part: between fork and exec, so only async-signal-safe calls and memory that was
//! laid out before.

#![allow(
    unsafe_code,
    reason = "these calls have no safe form between fork and exec"
)]

use std::os::fd::RawFd;
use std::ptr;

use super::{Prepared, Step, capability, landlock, seccomp};

impl Prepared {
    /// Before the child's files are placed: that would overwrite the numbers used here, and a
    /// limit on open files would leave none for the files opened here. `floor` is above all
    /// numbers that the child's files will have.
    ///
    /// # Safety
    /// Only in a child right after fork.
    ///
    /// # Errors
    /// The step that failed, with `errno` as it left it.
    pub(crate) unsafe fn enter(&mut self, floor: RawFd) -> Result<(), Step> {
        // SAFETY: every call gets numbers, or pointers to memory laid out before the fork or on
        // this stack, and none allocates.
        unsafe {
            for group in &self.groups {
                if libc::write(*group, b"0".as_ptr().cast(), 1) != 1 {
                    return Err(Step::Groups);
                }
            }
            if self.landlock >= 0 {
                let aside = libc::fcntl(self.landlock, libc::F_DUPFD_CLOEXEC, floor);
                if aside < 0 {
                    return Err(Step::Landlock);
                }
                self.landlock = aside;
            }
            if self.namespaces != 0 && libc::unshare(self.namespaces) < 0 {
                return Err(Step::Namespaces);
            }
            if let Some((uid, gid)) = &self.maps
                && !(write_to(c"/proc/self/setgroups", b"deny")
                    && write_to(c"/proc/self/uid_map", uid)
                    && write_to(c"/proc/self/gid_map", gid))
            {
                return Err(Step::Users);
            }
            if !self.mounts.make() {
                return Err(Step::Mounts);
            }
            if self.network && !raise_loopback() {
                return Err(Step::Network);
            }
            if let Some(bytes) = self.file_bytes {
                let limit = libc::rlimit {
                    rlim_cur: bytes,
                    rlim_max: bytes,
                };
                if libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) < 0 {
                    return Err(Step::FileSize);
                }
            }
            // While we still may: the new user may not.
            if !capability::drop_bounding(self.drop) {
                return Err(Step::Capabilities);
            }
            Ok(())
        }
    }

    /// After the child has become its user.
    ///
    /// # Safety
    /// Only in a child right after fork, after [`Self::enter`].
    ///
    /// # Errors
    /// The step that failed, with `errno` as it left it.
    pub(crate) unsafe fn close_in(&self) -> Result<(), Step> {
        // SAFETY: as above.
        unsafe {
            if !capability::drop_held(self.drop) {
                return Err(Step::Capabilities);
            }
            let bound = self.landlock >= 0 || self.filter.is_some();
            if bound && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
                return Err(Step::Landlock);
            }
            if self.landlock >= 0 && !landlock::restrict(self.landlock) {
                return Err(Step::Landlock);
            }
            // Last: nothing here may be in its way.
            if let Some(program) = &self.filter
                && !seccomp::install(program)
            {
                return Err(Step::Filter);
            }
            Ok(())
        }
    }
}

/// # Safety
/// Async-signal-safe calls only.
unsafe fn write_to(path: &std::ffi::CStr, text: &[u8]) -> bool {
    // SAFETY: the path ends with a zero byte, and the text outlives the call.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 {
            return false;
        }
        let done = libc::write(file, text.as_ptr().cast(), text.len());
        let errno = *libc::__errno_location();
        libc::close(file);
        *libc::__errno_location() = errno;
        usize::try_from(done) == Ok(text.len())
    }
}

/// # Safety
/// Async-signal-safe calls only.
unsafe fn raise_loopback() -> bool {
    // SAFETY: `request` is plain memory that both ioctls read and write within its size.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return false;
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
            *to = *from as libc::c_char;
        }
        let mut done = libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &raw mut request);
        if done == 0 {
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
            done = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, ptr::from_ref(&request));
        }
        let errno = *libc::__errno_location();
        libc::close(socket);
        *libc::__errno_location() = errno;
        done == 0
    }
}
