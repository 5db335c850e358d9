//! Ending a host: asked gently, and whatever does not listen is ended by pid and start time.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use grace_model::instance::ProcessId;
use grace_model::ipc::FleetStatus;
use grace_model::layout::Layout;
use grace_os::leftovers::MARKER;
use grace_os::{Signal, pidfd, process, tree};

use crate::problem::Problem;
use crate::supervisor::{Alive, Line};

/// Time beyond the services' own until a host counts as stuck.
const MARGIN: Duration = Duration::from_secs(20);
/// Time for a supervisor that is being replaced by the keeper, beyond its answer's own; and for
/// instances without one to end gently.
const REPLACED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// What was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A host that ran.
    Host,
    /// Nothing ran.
    Nothing,
    /// Only this many processes of a host whose keeper and supervisor were dead.
    Remains(usize),
}

/// Ends the host of a state directory and waits until its processes are gone.
pub fn end(layout: &Layout) -> Result<Ended, Problem> {
    let _ = fs::remove_file(layout.front_lock());
    if !Alive::look(layout).any() {
        return remains(layout);
    }
    let longest = longest(layout);
    let begun = Instant::now();
    let mut replaced = false;
    let (known, line) = loop {
        let asked = Line::connect(layout).and_then(|mut line| {
            let fleet = line.status()?;
            Ok((processes(&fleet), line))
        });
        let error = match asked {
            Ok(asked) => break asked,
            Err(error) => error,
        };
        let silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if silent && !replaced {
            replaced = true;
            kill_supervisor(layout);
        } else if begun.elapsed() > REPLACED || (silent && replaced) {
            return Err(Problem::new(
                format!("the supervisor cannot be reached to end the host: {error}"),
                super::start::with_log(layout),
            ));
        }
        if !Alive::look(layout).any() {
            return remains(layout);
        }
        std::thread::sleep(LOOK);
    };
    if let Err(error) = line.shutdown(longest) {
        return Err(Problem::new(
            format!(
                "the host did not end within {} s: {error}",
                longest.as_secs()
            ),
            "`grace status` shows what is left; `grace down` again goes on",
        ));
    }
    wait_gone(layout, &known)?;
    // A supervisor that was only just replaced may not have known all of them.
    remains(layout)?;
    Ok(Ended::Host)
}

/// How long a graceful end may take by the configuration that runs.
fn longest(layout: &Layout) -> Duration {
    let config = fs::read(layout.config())
        .ok()
        .and_then(|bytes| serde_json::from_slice::<grace_model::config::Config>(&bytes).ok());
    let services = config.map(|config| config.services).unwrap_or_default();
    let longest = services
        .iter()
        .map(|one| one.stop_timeout_ms + one.drain_timeout_ms)
        .max();
    Duration::from_millis(longest.unwrap_or(20_000)) + MARGIN
}

/// All processes that the supervisor knows, made safe against reuse of their pids.
fn processes(fleet: &FleetStatus) -> Vec<ProcessId> {
    let own = fleet.processes.iter().map(|one| one.pid);
    let instances = fleet.instances.iter().map(|one| one.pid);
    own.chain(instances)
        .filter(|pid| *pid != 0)
        .filter_map(process::identity)
        .collect()
}

/// One that is stopped or stuck cannot end anything; the keeper has another at once.
fn kill_supervisor(layout: &Layout) {
    if let Some(id) = Alive::look(layout).supervisor.and_then(process::identity) {
        kill(&id);
    }
}

fn kill(id: &ProcessId) {
    if let Ok(Some(handle)) = pidfd::open_same(id) {
        let _ = pidfd::send_signal(&handle, Signal::Kill);
        let _ = pidfd::wait_dead(&handle, Duration::from_secs(2));
    }
}

fn is_gone(id: &ProcessId) -> bool {
    process::state(id) == grace_model::event::ProcessState::Gone
}

/// Waits until they and the holders of the locks are gone; what stays is killed.
fn wait_gone(layout: &Layout, known: &[ProcessId]) -> Result<(), Problem> {
    const GENTLE: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    loop {
        let left: Vec<&ProcessId> = known.iter().filter(|id| !is_gone(id)).collect();
        if left.is_empty() && !Alive::look(layout).any() {
            return Ok(());
        }
        if begun.elapsed() > GENTLE {
            left.into_iter().for_each(kill);
            let alive = Alive::look(layout);
            let locks = [alive.keeper, alive.supervisor];
            locks
                .into_iter()
                .flatten()
                .filter_map(process::identity)
                .for_each(|id| kill(&id));
        }
        if begun.elapsed() > 2 * GENTLE {
            return Err(Problem::new(
                format!("the host was ended, and these stay: {known:?}"),
                "they are stuck in the kernel; look at /proc/PID/stack",
            ));
        }
        std::thread::sleep(LOOK);
    }
}

/// Ends what runs of a host whose keeper and supervisor are dead: its instances gently, then its
/// other processes. Found by what they carry, not by what somebody wrote down, so that nothing
/// else can be meant.
fn remains(layout: &Layout) -> Result<Ended, Problem> {
    let (instances, own) = (instances(layout), own_processes(layout));
    if instances.is_empty() && own.is_empty() {
        return Ok(Ended::Nothing);
    }
    for id in &instances {
        if let Ok(Some(handle)) = pidfd::open_same(id) {
            let _ = pidfd::send_signal(&handle, Signal::Terminate);
            // A stopped one could not hear it.
            let _ = pidfd::send_signal(&handle, Signal::Continue);
        }
    }
    let begun = Instant::now();
    while begun.elapsed() < REPLACED && !instances.iter().all(is_gone) {
        std::thread::sleep(LOOK);
    }
    instances.iter().chain(&own).for_each(kill);
    let count = instances.len() + own.len();
    match instances.iter().chain(&own).find(|id| !is_gone(id)) {
        None => Ok(Ended::Remains(count)),
        Some(id) => Err(Problem::new(
            format!("pid {} of the dead host cannot be ended", id.pid),
            "it is another user's or stuck in the kernel; try as root",
        )),
    }
}

/// Processes with an instance's mark and a data directory below this state directory.
fn instances(layout: &Layout) -> Vec<ProcessId> {
    let data = layout.root().join("data");
    found(|pid| {
        process::environ_value(pid, MARKER).is_some()
            && process::environ_value(pid, "GRACE_DATA")
                .is_some_and(|value| Path::new(&value).starts_with(&data))
    })
}

/// `grace internal NAME --state DIR` with this state directory.
fn own_processes(layout: &Layout) -> Vec<ProcessId> {
    let state = layout.root().as_os_str().as_encoded_bytes();
    found(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        matches!(words.as_slice(), [_, b"internal", b"proxy" | b"healer", b"--state", dir, ..] if *dir == state)
    })
}

fn found(mut is: impl FnMut(u32) -> bool) -> Vec<ProcessId> {
    let me = std::process::id();
    tree::snapshot()
        .into_iter()
        .map(|stat| stat.pid)
        .filter(|pid| *pid != me)
        // Its identity first: if the pid changes hands in between, nobody is hit.
        .filter_map(|pid| process::identity(pid).filter(|_| is(pid)))
        .filter(|id| !is_gone(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_remains_of_a_dead_host_is_ended_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(end(&layout).unwrap(), Ended::Nothing);
        let sleeper = |data: &Path| {
            let mut command = Command::new("sleep");
            command
                .arg("600")
                .env(MARKER, "h:shop-1:1")
                .env("GRACE_DATA", data);
            command.spawn().unwrap()
        };
        let mut ours = sleeper(&layout.data(&"shop-1".into()));
        let other = tempfile::tempdir().unwrap();
        let mut theirs = sleeper(&Layout::new(other.path()).data(&"shop-1".into()));
        assert_eq!(end(&layout).unwrap(), Ended::Remains(1));
        assert!(!ours.wait().unwrap().success());
        assert!(
            theirs.try_wait().unwrap().is_none(),
            "a process of another host was ended"
        );
        theirs.kill().unwrap();
        theirs.wait().unwrap();
    }
}
