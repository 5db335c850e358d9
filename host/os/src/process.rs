//! One process as `/proc` tells it. Knows nothing of families; see `tree`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use grace_model::event::ProcessState;
use grace_model::instance::{ExitCause, ProcessId};

use crate::error::{OsError, Result};
use crate::wait::WaitStatus;
use crate::{pidfd, user};

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcStat {
    /// Process id.
    pub pid: u32,
    /// Its program's name, at most 15 bytes.
    pub name: String,
    /// R, S, D, T, t, Z, X, I.
    pub state: char,
    /// Its parent.
    pub ppid: u32,
    /// Its process group.
    pub pgrp: u32,
    /// Its session.
    pub session: u32,
    /// Clock ticks in user and kernel mode.
    pub cpu_ticks: u64,
    /// Clock ticks of its children that have ended and were waited for, and of theirs.
    pub children_ticks: u64,
    /// Threads.
    pub threads: u64,
    /// In clock ticks since boot.
    pub start_time: u64,
    /// Resident pages.
    pub rss_pages: u64,
    /// Raw wait status; means something only of a zombie, and only to who may trace it.
    pub exit_code: i32,
}

impl ProcStat {
    /// Whether it runs, is stopped or is dead. A zombie counts as gone.
    #[must_use]
    pub fn process_state(&self) -> ProcessState {
        match self.state {
            'Z' | 'X' | 'x' => ProcessState::Gone,
            'T' | 't' => ProcessState::Stopped,
            _ => ProcessState::Running,
        }
    }

    /// Whether it is dead, reaped or not.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.process_state() == ProcessState::Gone
    }
}

/// Reads `/proc/PID/stat`; none when there is no such process.
#[must_use]
pub fn stat(pid: u32) -> Option<ProcStat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> Option<ProcStat> {
    // The name may hold spaces and parentheses; what follows the last one is safe.
    let (head, rest) = text.rsplit_once(')')?;
    let (pid, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Numbered as in proc(5), where the state is field 3.
    let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    let small = |at: usize| field(at)?.parse::<u32>().ok();
    Some(ProcStat {
        pid: pid.trim().parse().ok()?,
        name: name.to_owned(),
        state: field(3)?.chars().next()?,
        ppid: small(4)?,
        pgrp: field(5)?.parse::<i32>().ok()?.try_into().unwrap_or(0),
        session: field(6)?.parse::<i32>().ok()?.try_into().unwrap_or(0),
        cpu_ticks: number(14)?.saturating_add(number(15)?),
        children_ticks: number(16)?.saturating_add(number(17)?),
        threads: number(20)?,
        start_time: number(22)?,
        rss_pages: number(24)?,
        exit_code: field(52).and_then(|text| text.parse().ok()).unwrap_or(0),
    })
}

/// This boot's id; empty when the kernel does not tell, and then no process of before is
/// recognised.
#[must_use]
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    })
}

/// Which process has this pid now; none when there is none.
#[must_use]
pub fn identity(pid: u32) -> Option<ProcessId> {
    let stat = stat(pid)?;
    Some(ProcessId {
        pid,
        start_time: stat.start_time,
        boot_id: boot_id().to_owned(),
    })
}

/// This process.
///
/// # Errors
/// [`OsError`] when `/proc` is not mounted.
pub fn own_identity() -> Result<ProcessId> {
    let pid = std::process::id();
    identity(pid).ok_or_else(|| {
        OsError::new(
            "read",
            format_args!("/proc/{pid}/stat"),
            rustix::io::Errno::NOENT,
        )
    })
}

/// Whether this very process still has its pid. True for its zombie; see [`state`].
#[must_use]
pub fn is_same(id: &ProcessId) -> bool {
    id.boot_id == boot_id() && stat(id.pid).is_some_and(|stat| stat.start_time == id.start_time)
}

/// The state of exactly this process.
#[must_use]
pub fn state(id: &ProcessId) -> ProcessState {
    match stat(id.pid) {
        Some(stat) if id.boot_id == boot_id() && stat.start_time == id.start_time => {
            stat.process_state()
        }
        _ => ProcessState::Gone,
    }
}

/// A variable of the environment a process was started with. None when it has none such, is
/// gone, may not be looked at, or is in the middle of its exec.
#[must_use]
pub fn environ_value(pid: u32, key: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    bytes.split(|byte| *byte == 0).find_map(|entry| {
        let text = std::str::from_utf8(entry).ok()?;
        let (name, value) = text.split_once('=')?;
        (name == key).then(|| value.to_owned())
    })
}

/// How a dead process ended, without reaping it: its zombie's status, else what the kernel
/// kept in the handle. [`ExitCause::Unknown`] when nobody can say. For processes that are
/// another's children; one's own are asked by `wait`.
#[must_use]
pub fn exit_cause(id: &ProcessId, handle: Option<&std::os::fd::OwnedFd>) -> ExitCause {
    if let Some(stat) = stat(id.pid)
        && stat.start_time == id.start_time
        && stat.is_gone()
        && may_trace(id.pid)
    {
        return WaitStatus::from_raw(stat.exit_code).cause();
    }
    match handle.map(pidfd::exit_info) {
        Some(Ok(Some(raw))) => WaitStatus::from_raw(raw).cause(),
        _ => ExitCause::Unknown,
    }
}

/// To others the kernel shows 0 as the exit code, which must not be taken for a good end.
fn may_trace(pid: u32) -> bool {
    user::is_root()
        || fs::metadata(format!("/proc/{pid}"))
            .is_ok_and(|meta| meta.uid() == user::effective_uid())
}

/// Makes this process the parent of every descendant that loses its own.
///
/// # Errors
/// [`OsError`].
pub fn set_subreaper() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|source| OsError::new("prctl", "PR_SET_CHILD_SUBREAPER", source))
}

/// Makes this process the leader of a new session.
///
/// # Errors
/// [`OsError`]; EPERM when it leads a group already.
pub fn set_session() -> Result<()> {
    rustix::process::setsid()
        .map(drop)
        .map_err(|source| OsError::new("setsid", std::process::id(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse_the_reader() {
        let text = "77 (a) R 9 (b) S 1 77 70 0 -1 0 0 0 0 0 5 6 0 0 20 0 3 0 4242 1000 12 0 \
                    0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 256\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.name, "a) R 9 (b");
        assert_eq!(
            (stat.pid, stat.state, stat.ppid, stat.pgrp, stat.session),
            (77, 'S', 1, 77, 70)
        );
        assert_eq!(
            (
                stat.cpu_ticks,
                stat.threads,
                stat.start_time,
                stat.rss_pages
            ),
            (11, 3, 4242, 12)
        );
        assert_eq!(stat.exit_code, 256);
    }

    #[test]
    fn this_process_is_itself_and_no_other() {
        let me = own_identity().unwrap();
        assert!(is_same(&me));
        assert!(!is_same(&ProcessId {
            start_time: me.start_time + 1,
            ..me.clone()
        }));
        assert!(!is_same(&ProcessId {
            boot_id: "another".into(),
            ..me.clone()
        }));
        assert_eq!(state(&me), ProcessState::Running);
        assert_eq!(boot_id().len(), 36);
    }

    #[test]
    fn a_variable_of_a_process_is_read_by_its_whole_name() {
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .env("GRACE_TEST_VARIABLE", "one=two")
            .spawn()
            .unwrap();
        // A moment after exec the kernel does not show the variables yet.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while environ_value(child.id(), "GRACE_TEST_VARIABLE").is_none() {
            assert!(std::time::Instant::now() < end);
        }
        assert_eq!(
            environ_value(child.id(), "GRACE_TEST_VARIABLE").as_deref(),
            Some("one=two")
        );
        assert_eq!(environ_value(child.id(), "GRACE_TEST"), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
