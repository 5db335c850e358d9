//! The keeper: holds open files by name, collects the exits of what it adopts, and starts the
//! supervisor whenever there is none. It takes no decision and reads no configuration, so
//! there is little in it that could kill it.

mod hold;
mod pace;
pub(crate) mod wire;

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use grace_model::layout::Layout;
use grace_os::limit::{self, OpenFiles};
use grace_os::spawn::{Child, Session, Spawn};
use grace_os::{dir, lock, pass, pidfd};

use crate::error::Error;

/// Time that a keeper gets to take its lock.
const START: Duration = Duration::from_secs(10);

/// The name under which a process finds its end of the pair it shares with the other.
pub(crate) const LINK: &str = "link";

/// Variables that belong to one process and are not passed on.
const PRIVATE: [&str; 6] = [
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "GRACE_INSTANCE",
];

/// Starts the keeper as a daemon, gives it the listening sockets (named `listen:SERVICE:N`)
/// and returns its pid once it holds its lock. The supervisor it starts binds what is
/// missing.
///
/// # Errors
/// [`Error`] when it could not be started or ended at once.
pub fn start(
    exe: &Path,
    state_dir: &Path,
    listeners: Vec<(String, OwnedFd)>,
) -> Result<u32, Error> {
    let layout = Layout::new(state_dir);
    prepare(&layout)?;
    let log = log_file(&layout)?;
    // Names of inherited files are parted by colons, so inside they are dots on the way.
    let names: Vec<String> = listeners
        .iter()
        .map(|(name, _)| name.replace(':', "."))
        .collect();
    let spawn = grace_process(exe, "keeper", state_dir)
        .stdout(log.as_fd())
        .stderr(log.as_fd())
        .listen_fds(
            names
                .iter()
                .zip(&listeners)
                .map(|(name, (_, fd))| (name.as_str(), fd.as_fd())),
        );
    let child = spawn.start().map_err(|source| Error::Spawn {
        process: "keeper",
        source,
    })?;
    await_lock(&layout, &child)?;
    Ok(child.pid)
}

fn await_lock(layout: &Layout, child: &Child) -> Result<(), Error> {
    let end = Instant::now() + START;
    while lock::holder(&layout.keeper_lock()) != Some(child.pid) {
        if pidfd::wait_dead(&child.handle, Duration::from_millis(5))? || Instant::now() > end {
            let log = layout.logs().join("grace.log");
            return Err(Error::Ended {
                process: "keeper",
                log,
            });
        }
    }
    Ok(())
}

/// The keeper's life. Returns after a shutdown that was asked for.
///
/// # Errors
/// [`Error`] when it cannot begin.
pub fn main(state_dir: &Path) -> Result<(), Error> {
    let exe = crate::program::own_path()?;
    hold::keep(&exe, state_dir)
}

/// The listening sockets that a living proxy holds: for a host whose keeper and supervisor
/// are both dead. Empty when no proxy answers.
///
/// # Errors
/// [`Error`] when the proxy says what cannot be understood.
pub fn listeners_of_proxy(state_dir: &Path) -> Result<Vec<(String, OwnedFd)>, Error> {
    use std::io::Write;
    let path = Layout::new(state_dir).proxy_socket();
    let Ok(mut stream) = UnixStream::connect(&path) else {
        return Ok(Vec::new());
    };
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.write_all(b"listeners\n"));
    asked.map_err(|source| Error::file(&path, "asking for listening sockets", source))?;
    let mut found = Vec::new();
    loop {
        let received = pass::receive(&stream, 256)?;
        if received.is_end() {
            return Ok(found);
        }
        let text = String::from_utf8_lossy(&received.bytes).trim().to_owned();
        match received.fds.into_iter().next() {
            Some(fd) => found.push((text, fd)),
            None if text == "end" => return Ok(found),
            None => {
                return Err(Error::Protocol {
                    with: "the proxy",
                    text,
                });
            }
        }
    }
}

/// A process of Grace: the same program, the same variables, a session of its own.
pub(crate) fn grace_process<'fd>(exe: &Path, name: &str, state_dir: &Path) -> Spawn<'fd> {
    let variables = std::env::vars_os()
        .filter(|(key, _)| !PRIVATE.iter().any(|private| key.as_os_str() == *private));
    Spawn::new(exe)
        .args(["internal", name, "--state"])
        .args([state_dir.as_os_str()])
        .envs(variables)
        .session(Session::New)
}

/// Raises this process's limit of open files as far as it may; gives the one it had, which is
/// its children's.
pub(crate) fn raise_open_files() -> OpenFiles {
    limit::raise_open_files().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files stays as it is");
        limit::open_files()
    })
}

/// Directories that keeper and supervisor need.
pub(crate) fn prepare(layout: &Layout) -> Result<(), Error> {
    let run = layout.run();
    for path in [layout.logs(), run.join("notify"), run.join("output")] {
        dir::private(&path)?;
    }
    Ok(())
}

fn log_file(layout: &Layout) -> Result<std::fs::File, Error> {
    let path = layout.logs().join("grace.log");
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| Error::file(&path, "opening it", source))
}
