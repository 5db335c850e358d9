//! Between fork and exec. The child of a process with threads may call only what POSIX names
//! async-signal-safe: no allocation, no locks, no formatting. So everything is laid out
//! before, and the code below only moves numbers.

#![allow(
    unsafe_code,
    reason = "fork, exec and what lies between have no safe form"
)]

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use super::Session;
use crate::confine::{self, Prepared};
use crate::error::OsError;
use crate::limit::OpenFiles;

/// One open file to be moved to its number.
#[derive(Debug)]
pub(super) struct Move {
    from: RawFd,
    to: RawFd,
    /// Where it waits, above all targets, until the targets are free.
    aside: RawFd,
}

impl Move {
    pub(super) fn new(from: RawFd, to: RawFd) -> Self {
        Self {
            from,
            to,
            aside: -1,
        }
    }
}

/// All that the child does.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) program: CString,
    pub(super) argv: Vec<CString>,
    /// Each ends with a zero byte.
    pub(super) env: Vec<Vec<u8>>,
    /// Whether `LISTEN_PID` is added, which only the child knows.
    pub(super) tell_pid: bool,
    pub(super) dir: Option<CString>,
    /// Sorted by target, standard streams first.
    pub(super) moves: Vec<Move>,
    pub(super) user: Option<(u32, u32, Vec<u32>)>,
    pub(super) session: Session,
    pub(super) subreaper: bool,
    pub(super) die_with_parent: bool,
    pub(super) no_new_privileges: bool,
    pub(super) open_files: Option<OpenFiles>,
    pub(super) confinement: Prepared,
    /// It does all but execute the program.
    pub(super) trial: bool,
}

/// What the child was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Files,
    Session,
    Subreaper,
    User,
    Privileges,
    Directory,
    Exec,
    Limits,
    Confine(confine::Step),
}

impl Step {
    pub(super) fn text(self) -> &'static str {
        match self {
            Step::Files => "placing its open files",
            Step::Session => "making its session",
            Step::Subreaper => "making it a subreaper",
            Step::User => "becoming its user",
            Step::Privileges => "giving up new privileges",
            Step::Directory => "entering its directory",
            Step::Exec => "executing it",
            Step::Limits => "setting its limit of open files",
            Step::Confine(step) => step.text(),
        }
    }

    /// For the pipe to the parent.
    fn number(self) -> u32 {
        match self {
            Step::Files => 1,
            Step::Session => 2,
            Step::Subreaper => 3,
            Step::User => 4,
            Step::Privileges => 5,
            Step::Directory => 6,
            Step::Exec => 7,
            Step::Limits => 8,
            Step::Confine(step) => step as u32,
        }
    }

    fn from_number(number: u32) -> Self {
        [
            Step::Files,
            Step::Session,
            Step::Subreaper,
            Step::User,
            Step::Privileges,
            Step::Directory,
            Step::Limits,
        ]
        .into_iter()
        .chain(confine::Step::ALL.map(Step::Confine))
        .find(|step| step.number() == number)
        .unwrap_or(Step::Exec)
    }
}

/// Why there is no child.
#[derive(Debug)]
pub(super) enum Failure {
    Parent(OsError),
    Child { step: Step, source: io::Error },
}

const PID_KEY: &[u8] = b"LISTEN_PID=";
/// The key, ten digits of a u32, a zero byte.
const PID_ENTRY: usize = PID_KEY.len() + 11;

/// Buffers that the child fills; made by the parent because the child may not allocate.
struct Buffers {
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    pid_entry: [u8; PID_ENTRY],
    parent: u32,
}

impl Failure {
    /// Whether the program was open for writing somewhere when it was to be executed.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Failure::Child { step: Step::Exec, source }
            if source.raw_os_error() == Some(libc::ETXTBSY))
    }
}

/// Forks, and returns the child's pid once its exec has succeeded.
pub(super) fn fork_and_exec(plan: &mut Plan) -> Result<u32, Failure> {
    let parent = |call, source: io::Error| Failure::Parent(OsError::new(call, "a child", source));
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| parent("pipe2", e.into()))?;
    let mut buffers = Buffers {
        argv: plan
            .argv
            .iter()
            .map(|arg| arg.as_ptr())
            .chain([ptr::null()])
            .collect(),
        envp: Vec::with_capacity(plan.env.len().saturating_add(2)),
        pid_entry: [0; PID_ENTRY],
        parent: std::process::id(),
    };
    let old_mask = block_signals();
    let forks = plan.confinement.forks;
    // SAFETY: between here and exec or _exit the child calls only `run`, which keeps to
    // async-signal-safe calls and to memory laid out above.
    let pid = unsafe {
        if forks == 0 {
            libc::fork()
        } else {
            fork_into(forks)
        }
    };
    if pid == 0 {
        // SAFETY: this is the child; see above.
        unsafe { run(plan, &mut buffers, theirs.as_raw_fd()) }
    }
    let fork_error = io::Error::last_os_error();
    restore_signals(&old_mask);
    if pid < 0 {
        return Err(parent("fork", fork_error));
    }
    drop(theirs);
    let pid = pid.unsigned_abs();
    match read_failure(&ours) {
        None => Ok(pid),
        Some((step, errno)) => {
            // It has ended or is about to; nobody else knows of it.
            let _ = crate::wait::wait_pid(pid);
            Err(Failure::Child {
                step,
                source: io::Error::from_raw_os_error(errno),
            })
        }
    }
}

/// As fork, into new namespaces. The C library does not know of it, which matters only to code
/// that the child does not run.
///
/// # Safety
/// As of fork: the child may make async-signal-safe calls only.
unsafe fn fork_into(namespaces: libc::c_int) -> libc::pid_t {
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given it is a fork: the child has a copy of all
    // memory and goes on at this place. The other arguments are not looked at.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    libc::pid_t::try_from(pid).unwrap_or(-1)
}

/// None: the pipe was closed by exec.
fn read_failure(pipe: &OwnedFd) -> Option<(Step, i32)> {
    let mut message = [0; 8];
    loop {
        match rustix::io::read(pipe, &mut message) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(8) => break,
            // Writes of up to PIPE_BUF bytes arrive whole: anything else is the end.
            _ => return None,
        }
    }
    let [a, b, c, d, e, f, g, h] = message;
    Some((
        Step::from_number(u32::from_ne_bytes([a, b, c, d])),
        i32::from_ne_bytes([e, f, g, h]),
    ))
}

/// No handler of ours may run in the child: it would act on what it shares with us.
fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are plain memory that the calls fill; a zeroed set is a valid one.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        old
    }
}

fn restore_signals(old: &libc::sigset_t) {
    // SAFETY: `old` was filled by `block_signals`.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, ptr::from_ref(old), ptr::null_mut());
    }
}

/// # Safety
/// Only in a child right after fork.
unsafe fn run(plan: &mut Plan, buffers: &mut Buffers, errors: RawFd) -> ! {
    let mut errors = errors;
    // SAFETY: as of this function.
    let step = unsafe { prepare_and_exec(plan, buffers, &mut errors) };
    // SAFETY: errno is the child's own; write and _exit are async-signal-safe; the message
    // outlives the write.
    unsafe {
        let errno = *libc::__errno_location();
        let mut message = [0_u8; 8];
        let (number, code) = message.split_at_mut(4);
        number.copy_from_slice(&step.number().to_ne_bytes());
        code.copy_from_slice(&errno.to_ne_bytes());
        libc::write(errors, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

/// Returns only when a step has failed, with `errno` as that step left it.
///
/// # Safety
/// Only in a child right after fork.
unsafe fn prepare_and_exec(plan: &mut Plan, buffers: &mut Buffers, errors: &mut RawFd) -> Step {
    // SAFETY: every call below is async-signal-safe and gets numbers, or pointers into
    // `plan` and `buffers`, which live until exec. Nothing allocates: `envp` has its capacity.
    unsafe {
        let floor = floor(&plan.moves);
        if let Err(step) = plan.confinement.enter(floor) {
            return Step::Confine(step);
        }
        if !place_files(&mut plan.moves, errors) {
            return Step::Files;
        }
        // After the files were placed: their numbers may lie above it.
        if let Some(files) = &plan.open_files {
            let limit = libc::rlimit {
                rlim_cur: files.soft,
                rlim_max: files.hard,
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) < 0 {
                return Step::Limits;
            }
        }
        let session = match plan.session {
            Session::Same => 0,
            Session::Group => libc::setpgid(0, 0),
            Session::New => libc::setsid(),
        };
        if session < 0 {
            return Step::Session;
        }
        if plan.subreaper && libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 {
            return Step::Subreaper;
        }
        if let Some((uid, gid, groups)) = &plan.user {
            // setgroups needs a privilege; without it one can only stay who one is.
            let stay = libc::geteuid() == *uid && libc::getegid() == *gid && *uid != 0;
            if !stay
                && (libc::setgroups(groups.len(), groups.as_ptr()) < 0
                    || libc::setresgid(*gid, *gid, *gid) < 0
                    || libc::setresuid(*uid, *uid, *uid) < 0)
            {
                return Step::User;
            }
        }
        // After the change of user, which undoes it.
        if plan.die_with_parent && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) < 0 {
            return Step::Session;
        }
        if plan.no_new_privileges && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return Step::Privileges;
        }
        if let Err(step) = plan.confinement.close_in() {
            return Step::Confine(step);
        }
        if let Some(dir) = &plan.dir
            && libc::chdir(dir.as_ptr()) < 0
        {
            return Step::Directory;
        }
        if plan.tell_pid {
            write_pid(&mut buffers.pid_entry, libc::getpid().unsigned_abs());
            buffers.envp.push(buffers.pid_entry.as_ptr().cast());
        }
        for entry in &plan.env {
            buffers.envp.push(entry.as_ptr().cast());
        }
        buffers.envp.push(ptr::null());
        reset_signals();
        // A child of a process that was killed since the fork is known to nobody. 0: the
        // parent is out of sight, in another namespace of pids.
        let parent = libc::getppid().unsigned_abs();
        if parent != buffers.parent && parent != 0 {
            libc::_exit(127);
        }
        if plan.trial {
            libc::_exit(0);
        }
        libc::execve(
            plan.program.as_ptr(),
            buffers.argv.as_ptr(),
            buffers.envp.as_ptr(),
        );
        Step::Exec
    }
}

/// The first number above all targets.
fn floor(moves: &[Move]) -> RawFd {
    let highest = moves.iter().fold(2, |highest, next| highest.max(next.to));
    highest.saturating_add(1)
}

/// # Safety
/// Only in a child right after fork.
unsafe fn place_files(moves: &mut [Move], errors: &mut RawFd) -> bool {
    let floor = floor(moves);
    // SAFETY: fcntl, dup2 and close_range take numbers and touch no memory of ours.
    unsafe {
        // First all out of the way, so that no target overwrites a source.
        for next in moves.iter_mut() {
            next.aside = libc::fcntl(next.from, libc::F_DUPFD_CLOEXEC, floor);
            if next.aside < 0 {
                return false;
            }
        }
        let aside = libc::fcntl(*errors, libc::F_DUPFD_CLOEXEC, floor);
        if aside < 0 {
            return false;
        }
        *errors = aside;
        let mut next_free = 0;
        for next in moves.iter() {
            if libc::dup2(next.aside, next.to) < 0 {
                return false;
            }
            close_on_exec(next_free, next.to.saturating_sub(1));
            next_free = next.to.saturating_add(1);
        }
        close_on_exec(next_free, RawFd::MAX);
    }
    true
}

/// # Safety
/// Only in a child right after fork.
unsafe fn close_on_exec(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: numbers only. Not closed but marked: the error pipe must live until exec.
    unsafe {
        let done = libc::syscall(
            libc::SYS_close_range,
            first.unsigned_abs(),
            last.unsigned_abs(),
            libc::CLOSE_RANGE_CLOEXEC,
        );
        if done == 0 {
            return;
        }
        // Linux before 5.11: one by one, as far as a process of its limit can reach.
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let end = RawFd::try_from(limit.rlim_cur)
            .unwrap_or(RawFd::MAX)
            .min(1 << 20);
        let mut number = first;
        while number <= last && number < end {
            libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
            number = number.saturating_add(1);
        }
    }
}

fn write_pid(entry: &mut [u8; PID_ENTRY], pid: u32) {
    let mut digits = [0_u8; 10];
    let mut left = pid;
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((left % 10) as u8);
        left /= 10;
        count += 1;
        if left == 0 {
            break;
        }
    }
    let number = digits.iter().skip(10 - count);
    for (to, from) in entry.iter_mut().zip(PID_KEY.iter().chain(number)) {
        *to = *from;
    }
}

/// # Safety
/// Only in a child right after fork.
unsafe fn reset_signals() {
    /// Handler, flags, restorer and mask as the kernel wants them: all zero is SIG_DFL.
    const DEFAULT: [u64; 4] = [0; 4];
    // SAFETY: dispositions and mask are this process's own; the kernel reads no more of
    // DEFAULT than its own structure, and writes to no address of ours. Not the C library's
    // call, which refuses to reset the two signals that it keeps for itself.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                ptr::null::<u64>(),
                size_of::<u64>(),
            );
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_in_decimal_and_ends_with_zero() {
        for pid in [1, 10, 4_194_304, u32::MAX] {
            let mut entry = [0; PID_ENTRY];
            write_pid(&mut entry, pid);
            let text = std::ffi::CStr::from_bytes_until_nul(&entry).unwrap();
            assert_eq!(text.to_str().unwrap(), format!("LISTEN_PID={pid}"));
        }
    }
}
