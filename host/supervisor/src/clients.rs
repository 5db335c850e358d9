//! Connections to the supervisor's socket: a task reads and one writes for each, and a client
//! that does not keep up is cut off. The supervisor never waits for any.

use std::collections::{BTreeSet, HashMap};

use grace_model::id::InstanceId;
use grace_model::ipc::{Answer, Request};
use grace_os::user;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::core::Message;

/// Answers that may wait for one client. A proxy that is this far behind is stopped or sick;
/// when it connects again it gets the whole table.
const BEHIND: usize = 256;

/// The longest line that is read.
const LINE: u64 = 256 * 1024;

/// What is heard of a connection.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It was opened; answers go here, and it is cut off when `cut` is dropped.
    Opened {
        /// Answers, a line each.
        answers: mpsc::Sender<Vec<u8>>,
        /// Never sent to.
        cut: oneshot::Sender<()>,
        /// Whose it is, when the kernel knows.
        pid: Option<u32>,
    },
    /// It said something.
    Asked(Request),
    /// It said what cannot be understood.
    Nonsense(String),
    /// It is gone.
    Closed,
}

#[derive(Debug)]
struct Client {
    answers: mpsc::Sender<Vec<u8>>,
    subscribed: bool,
    pid: Option<u32>,
    /// What it has no request on and others may have. Bounded by the leaves of a few seconds.
    idle: BTreeSet<Idle>,
    /// Ends the connection with this client.
    _cut: oneshot::Sender<()>,
}

/// A process that is to be idle, and the number of its leave.
pub(crate) type Idle = (InstanceId, u64, u64);

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: HashMap<u64, Client>,
}

impl Clients {
    pub(crate) fn open(
        &mut self,
        id: u64,
        answers: mpsc::Sender<Vec<u8>>,
        cut: oneshot::Sender<()>,
        pid: Option<u32>,
    ) {
        self.by_id.insert(
            id,
            Client {
                answers,
                subscribed: false,
                pid,
                idle: BTreeSet::new(),
                _cut: cut,
            },
        );
    }

    pub(crate) fn close(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    pub(crate) fn subscribe(&mut self, id: u64) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.subscribed = true;
        }
    }

    /// Whose connection it is.
    pub(crate) fn pid(&self, id: u64) -> Option<u32> {
        self.by_id.get(&id)?.pid
    }

    /// A proxy says that it has no request on a process.
    pub(crate) fn idle(&mut self, id: u64, what: Idle) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.idle.insert(what);
        }
    }

    /// Takes what every proxy has said.
    pub(crate) fn idle_for_all(&mut self) -> Vec<Idle> {
        let mut proxies = Vec::new();
        let mut said: BTreeSet<&Idle> = BTreeSet::new();
        for client in self.by_id.values() {
            said.extend(&client.idle);
            if client.subscribed {
                proxies.push(&client.idle);
            }
        }
        let all: Vec<Idle> = said
            .into_iter()
            .filter(|what| proxies.iter().all(|idle| idle.contains(what)))
            .cloned()
            .collect();
        for client in self.by_id.values_mut() {
            client.idle.retain(|what| !all.contains(what));
        }
        all
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.by_id
            .values()
            .filter(|client| client.subscribed)
            .count()
    }

    pub(crate) fn send(&mut self, id: u64, answer: &Answer) {
        let line = line(answer);
        let kept = self
            .by_id
            .get(&id)
            .is_some_and(|c| c.answers.try_send(line).is_ok());
        if !kept {
            self.by_id.remove(&id);
        }
    }

    /// To everyone who subscribed.
    pub(crate) fn publish(&mut self, answer: &Answer) {
        let line = line(answer);
        self.by_id.retain(|id, client| {
            let kept = !client.subscribed || client.answers.try_send(line.clone()).is_ok();
            if !kept {
                tracing::warn!(client = id, "a subscriber does not keep up and is cut off");
            }
            kept
        });
    }
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Accepts connections of our own user and of root.
pub(crate) async fn accept(listener: UnixListener, messages: mpsc::Sender<Message>) {
    let mut next = 0_u64;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly too many open files: others must close some first.
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let peer = stream.peer_cred();
        let pid = peer.as_ref().ok().and_then(|peer| peer.pid());
        let allowed = peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == user::effective_uid());
        if !allowed {
            tracing::warn!("a connection of another user was refused");
            continue;
        }
        next += 1;
        let pid = pid.and_then(|pid| u32::try_from(pid).ok());
        tokio::spawn(serve(stream, next, pid, messages.clone()));
    }
}

async fn serve(stream: UnixStream, id: u64, pid: Option<u32>, messages: mpsc::Sender<Message>) {
    let (reader, writer) = stream.into_split();
    let (answers, outbox) = mpsc::channel(BEHIND);
    let say = async |heard: Heard| messages.send(Message::Client { id, heard }).await.is_ok();
    let (cut, is_cut) = oneshot::channel();
    if !say(Heard::Opened { answers, cut, pid }).await {
        return;
    }
    let mut writing = tokio::spawn(write(writer, outbox));
    tokio::select! {
        () = read(reader, id, &messages) => {}
        _ = &mut writing => {}
        // It does not read: what waits for it in `write` would wait for ever.
        _ = is_cut => writing.abort(),
    }
    say(Heard::Closed).await;
}

async fn read(reader: OwnedReadHalf, id: u64, messages: &mpsc::Sender<Message>) {
    let mut lines = BufReader::new(reader).take(LINE);
    let mut line = Vec::new();
    loop {
        line.clear();
        lines.set_limit(LINE);
        match lines.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) if line.last() != Some(&b'\n') => return,
            Ok(_) => {}
        }
        let heard = match serde_json::from_slice(&line) {
            Ok(request) => Heard::Asked(request),
            Err(error) => Heard::Nonsense(error.to_string()),
        };
        if messages.send(Message::Client { id, heard }).await.is_err() {
            return;
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut outbox: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = outbox.recv().await {
        if writer.write_all(&line).await.is_err() {
            return;
        }
    }
}
