//! A filter of system calls: those that are named fail with EPERM, all others go through.

#![allow(unsafe_code, reason = "seccomp has no safe form between fork and exec")]

use crate::error::{OsError, Result};

/// The number by which the kernel tells a caller's machine, `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Calls of the x32 ABI have this bit; nobody uses it, and a list by numbers would miss it.
#[cfg(target_arch = "x86_64")]
const FOREIGN: u32 = 0x4000_0000;

/// Of `struct seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// What no ordinary service calls: changing the kernel, mounts, clocks and other processes.
/// After Docker's and systemd's lists (moby default.json; `systemd-analyze syscall-filter`
/// `@clock @debug @module @mount @obsolete @raw-io @reboot @swap`, without those that databases
/// and language runtimes use).
const KERNEL: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[libc::c_long] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS__sysctl,
    libc::SYS_sysfs,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[libc::c_long] = &[];

/// The calls that the built-in filter refuses.
pub fn refused() -> impl Iterator<Item = libc::c_long> {
    KERNEL.iter().chain(OF_THIS_MACHINE).copied()
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    calls: Vec<(u32, u16)>,
}

impl Filter {
    /// The built-in one, see [`refused`]. Programs of another machine's kind (32 bit) do not run
    /// under it: the same numbers are other calls there.
    #[must_use]
    pub fn kernel() -> Self {
        Self::refuse(refused().map(|call| (call, libc::EPERM)))
    }

    /// These calls fail with these errors.
    pub fn refuse(calls: impl IntoIterator<Item = (libc::c_long, i32)>) -> Self {
        let calls = calls.into_iter().filter_map(|(call, error)| {
            Some((u32::try_from(call).ok()?, u16::try_from(error).ok()?))
        });
        Self {
            calls: calls.collect(),
        }
    }

    /// As the kernel takes it.
    pub(super) fn program(&self) -> Vec<libc::sock_filter> {
        let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
        let answer = |value| statement(libc::BPF_RET | libc::BPF_K, value);
        let fails = |error: u16| answer(libc::SECCOMP_RET_ERRNO | u32::from(error));
        let equal = |value| jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value);
        let unknown = u16::try_from(libc::ENOSYS).unwrap_or(u16::MAX);
        // Each test skips the answer behind it when it does not hold; the first one's sense is
        // turned by skipping over its answer when it does.
        let mut program = vec![load(OFFSET_ARCHITECTURE)];
        let mut native = equal(ARCHITECTURE);
        (native.jt, native.jf) = (1, 0);
        program.extend([native, fails(unknown), load(OFFSET_NUMBER)]);
        #[cfg(target_arch = "x86_64")]
        program.extend([
            jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, FOREIGN),
            fails(unknown),
        ]);
        for (call, error) in &self.calls {
            program.extend([equal(*call), fails(*error)]);
        }
        program.push(answer(libc::SECCOMP_RET_ALLOW));
        program
    }
}

fn statement(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf: 0,
        k: value,
    }
}

/// Goes on behind itself when it holds, else skips one.
fn jump(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        jf: 1,
        ..statement(code, value)
    }
}

/// Whether the kernel has filters that answer with an error.
///
/// # Errors
/// [`OsError`] when it has not.
pub fn available() -> Result<()> {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0_u32,
            &raw const action,
        )
    };
    if done < 0 {
        return Err(OsError::last("seccomp", "filters"));
    }
    Ok(())
}

/// Puts the filter on the calling thread, which is alone.
///
/// # Safety
/// Only in a child right after fork.
pub(super) unsafe fn install(program: &[libc::sock_filter]) -> bool {
    let Ok(len) = u16::try_from(program.len()) else {
        return false;
    };
    let program = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from memory that outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0_u32,
            &raw const program,
        ) == 0
    }
}
