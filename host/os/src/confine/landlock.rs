//! Landlock: rules that a process puts on itself, without any privilege. Which files it may
//! change, and that it reaches no process outside: none that it could trace, none that it could
//! signal.

#![allow(
    unsafe_code,
    reason = "Landlock's system calls have no wrapper in libc"
)]

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{OsError, Result};

/// From `linux/landlock.h`; the comments say from which ABI on.
const WRITE_FILE: u64 = 1 << 1;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE: u64 = 0b111_1111 << 6; // char, dir, reg, sock, fifo, block, sym
const REFER: u64 = 1 << 13; // 2
const TRUNCATE: u64 = 1 << 14; // 3
const SCOPE_SIGNAL: u64 = 1 << 1; // 6

/// The ABI from which signals can be kept inside.
pub const SIGNALS_FROM: u32 = 6;

/// The ABI from which "only these can be changed" holds for truncation too.
pub const WRITES_FROM: u32 = 3;

const CREATE_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Attributes {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which the kernel has packed.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: RawFd,
}

/// Rules, made before the fork.
#[derive(Debug)]
pub struct Landlock(OwnedFd);

/// What rules hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules<'a> {
    /// It can signal only itself and its descendants; with this, as with any rule, it can trace
    /// only these too.
    pub keep_signals: bool,
    /// All that it can change, directories with what is below; none: no such rule.
    pub writable: Option<&'a [&'a Path]>,
    /// Files that it can write to, and nothing else with them: devices.
    pub files: &'a [&'a Path],
}

/// The kernel's ABI.
///
/// # Errors
/// [`OsError`]: ENOSYS when it was built without, EOPNOTSUPP when it was started without.
pub fn abi() -> Result<u32> {
    // SAFETY: the version is asked for with a null pointer and no size.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Attributes>(),
            0_usize,
            CREATE_VERSION,
        )
    };
    match u32::try_from(version) {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(OsError::last("landlock_create_ruleset", "its version")),
    }
}

impl Landlock {
    /// Makes rules. What the kernel's ABI cannot do is an error, never left out.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn new(rules: &Rules<'_>) -> Result<Self> {
        let abi = abi()?;
        let needed = |from: u32, what: &'static str| {
            if abi < from {
                let source = rustix::io::Errno::NOSYS;
                return Err(OsError::new("landlock_create_ruleset", what, source));
            }
            Ok(())
        };
        if rules.keep_signals {
            needed(SIGNALS_FROM, "signals")?;
        }
        let writes = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE | REFER | TRUNCATE;
        if rules.writable.is_some() {
            needed(WRITES_FROM, "writing and truncating")?;
        }
        let attributes = Attributes {
            files: rules.writable.map_or(0, |_| writes),
            network: 0,
            scoped: if rules.keep_signals { SCOPE_SIGNAL } else { 0 },
        };
        // Older kernels refuse a size with fields that they do not know.
        let size = if rules.keep_signals { 24 } else { 8_usize };
        // SAFETY: the kernel reads `size` bytes of the structure, which has no fewer; the number
        // it returns is a descriptor that nobody else knows.
        let made = unsafe {
            let made = libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attributes,
                size,
                0_u32,
            );
            match RawFd::try_from(made) {
                Ok(fd) if fd >= 0 => Self(OwnedFd::from_raw_fd(fd)),
                _ => return Err(OsError::last("landlock_create_ruleset", "rules")),
            }
        };
        for path in rules.writable.unwrap_or_default() {
            made.allow(path, writes)?;
        }
        if rules.writable.is_some() {
            for path in rules.files {
                made.allow(path, WRITE_FILE | TRUNCATE)?;
            }
        }
        Ok(made)
    }

    fn allow(&self, path: &Path, allowed: u64) -> Result<()> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
            .open(path)
            .map_err(|source| OsError::new("open", path.display(), source))?;
        let is_dir = opened.metadata().is_ok_and(|meta| meta.is_dir());
        let rule = Beneath {
            // The kernel refuses rights of directories for anything else.
            allowed: if is_dir {
                allowed
            } else {
                allowed & (WRITE_FILE | TRUNCATE)
            },
            parent: opened.as_raw_fd(),
        };
        // SAFETY: the structure and the descriptor in it outlive the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.0.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0_u32,
            )
        };
        if done < 0 {
            return Err(OsError::last("landlock_add_rule", path.display()));
        }
        Ok(())
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Puts rules on the calling thread, which is alone.
///
/// # Safety
/// Only in a child right after fork.
pub(super) unsafe fn restrict(rules: RawFd) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0_u32) == 0 }
}
