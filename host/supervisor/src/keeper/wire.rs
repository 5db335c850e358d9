//! The words between keeper and supervisor, one message each on a pair that keeps message
//! bounds; open files ride along.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use grace_os::pass;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Names are short; this is far above the longest message.
const LONGEST: usize = 4 * 1024;

/// To the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToKeeper {
    /// Hold the open file under this name, instead of what was there.
    Store(String),
    /// Let go of it.
    Drop(String),
    /// Send everything that is held, and all exits that are remembered.
    Fetch,
    /// This supervisor has adopted what ran and kept on disk what it took.
    Stands,
    /// End: this host is being shut down.
    Bye,
}

/// To the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToSupervisor {
    /// An open file that is held under this name.
    Held(String),
    /// Who speaks.
    Hello {
        /// The keeper's pid.
        pid: u32,
        /// Whether this keeper was started for a new host and no supervisor of it has stood
        /// yet: what an earlier host was about to do is over then.
        #[serde(default)]
        first: bool,
    },
    /// All that is held was sent.
    End,
    /// A process that the keeper had adopted has ended.
    Exited(Exit),
}

/// An end that the keeper saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Which process.
    pub pid: u32,
    /// How.
    pub cause: grace_model::instance::ExitCause,
    /// When, in milliseconds since boot.
    pub at: u64,
}

/// A stopped process at the other end must not stop this one for longer than a moment.
pub(crate) fn bound_sends(socket: &OwnedFd) -> Result<(), Error> {
    socket
        .try_clone()
        .map(UnixStream::from)
        .and_then(|stream| stream.set_write_timeout(Some(Duration::from_millis(500))))
        .map_err(|source| Error::file("keeper's socket", "setting its timeout", source))
}

pub(crate) fn send<T: Serialize>(
    socket: &OwnedFd,
    message: &T,
    fd: Option<&OwnedFd>,
) -> Result<(), Error> {
    let bytes = serde_json::to_vec(message).map_err(|error| Error::Protocol {
        with: "this process",
        text: error.to_string(),
    })?;
    let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
    pass::send(socket, &bytes, &fds)?;
    Ok(())
}

/// None: the other end has closed.
pub(crate) fn receive<T: for<'a> Deserialize<'a>>(
    socket: &OwnedFd,
) -> Result<Option<(T, Option<OwnedFd>)>, Error> {
    let received = pass::receive(socket, LONGEST)?;
    if received.is_end() {
        return Ok(None);
    }
    let message = serde_json::from_slice(&received.bytes).map_err(|_| Error::Protocol {
        with: "the process at the other end",
        text: String::from_utf8_lossy(&received.bytes).into_owned(),
    })?;
    Ok(Some((message, received.fds.into_iter().next())))
}
