//! The supervisor's end of the pair to the keeper. What the keeper holds is fetched once at
//! the start; later it only tells of exits.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use grace_model::instance::ExitCause;
use tokio::sync::mpsc;

use crate::core::Message;
use crate::error::Error;
use crate::keeper::wire::{self, Exit, ToKeeper, ToSupervisor};

/// Exits of adopted processes that are remembered here. As in the keeper.
const EXITS: usize = 1024;

/// What a keeper handed over.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    pub keeper_pid: u32,
    /// No supervisor of this host has stood before.
    pub first: bool,
    pub held: BTreeMap<String, OwnedFd>,
}

/// The connection, and the exits heard over it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    socket: Option<OwnedFd>,
    exits: Vec<Exit>,
}

impl Link {
    /// Asks for everything. Blocking, before anything else runs.
    pub(crate) fn fetch(socket: OwnedFd) -> Result<(Self, Handed), Error> {
        wire::bound_sends(&socket)?;
        wire::send(&socket, &ToKeeper::Fetch, None)?;
        let mut link = Link::default();
        let mut handed = Handed::default();
        loop {
            match wire::receive::<ToSupervisor>(&socket)? {
                Some((ToSupervisor::Held(name), Some(fd))) => {
                    handed.held.insert(name, fd);
                }
                Some((ToSupervisor::Held(name), None)) => {
                    return Err(Error::Protocol {
                        with: "the keeper",
                        text: name,
                    });
                }
                Some((ToSupervisor::Hello { pid, first }, _)) => {
                    handed.keeper_pid = pid;
                    handed.first = first;
                }
                Some((ToSupervisor::Exited(exit), _)) => link.note(exit),
                Some((ToSupervisor::End, _)) => break,
                None => {
                    let text = "it closed the connection".to_owned();
                    return Err(Error::Protocol {
                        with: "the keeper",
                        text,
                    });
                }
            }
        }
        link.socket = Some(socket);
        Ok((link, handed))
    }

    /// The connection to a keeper that this supervisor has started.
    pub(crate) fn renew(&mut self, socket: OwnedFd) -> Result<(), Error> {
        wire::bound_sends(&socket)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Listens from now on, in a thread: the pair blocks, and the thread ends with it.
    pub(crate) fn listen(&self, messages: mpsc::Sender<Message>) -> Result<(), Error> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let socket = socket
            .try_clone()
            .map_err(|source| Error::file("keeper's socket", "duplicating it", source))?;
        let hear = move || {
            while let Ok(Some((word, _))) = wire::receive::<ToSupervisor>(&socket) {
                if let ToSupervisor::Exited(exit) = word
                    && messages.blocking_send(Message::AdoptedExit(exit)).is_err()
                {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .stack_size(128 * 1024)
            .spawn(hear)
            .map(drop)
            .map_err(|source| Error::file("keeper's socket", "starting its thread", source))
    }

    /// Takes note of an exit.
    pub(crate) fn note(&mut self, exit: Exit) {
        self.exits.push(exit);
        if self.exits.len() > EXITS {
            self.exits.remove(0);
        }
    }

    /// How a process ended that was started at `since`, if the keeper saw it.
    pub(crate) fn exit_of(&self, pid: u32, since: u64) -> Option<ExitCause> {
        let found = self
            .exits
            .iter()
            .rev()
            .find(|exit| exit.pid == pid && exit.at >= since);
        found.map(|exit| exit.cause.clone())
    }

    /// Has the keeper hold an open file. A keeper that does not answer is dead or about to
    /// be; the next one gets everything again.
    pub(crate) fn store(&self, name: &str, fd: &OwnedFd) {
        self.say(&ToKeeper::Store(name.to_owned()), Some(fd));
    }

    /// Has it let go.
    pub(crate) fn drop_held(&self, name: &str) {
        self.say(&ToKeeper::Drop(name.to_owned()), None);
    }

    /// Tells it that this supervisor has adopted.
    pub(crate) fn stands(&self) {
        self.say(&ToKeeper::Stands, None);
    }

    /// Has it end.
    pub(crate) fn bye(&self) {
        self.say(&ToKeeper::Bye, None);
    }

    fn say(&self, word: &ToKeeper, fd: Option<&OwnedFd>) {
        if let Some(socket) = &self.socket
            && let Err(error) = wire::send(socket, word, fd)
        {
            tracing::warn!(%error, ?word, "the keeper could not be told");
        }
    }
}
