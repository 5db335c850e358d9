//! Tells everybody who can be told, without anybody waiting for it: a thread and a short queue a
//! channel, so that a receiver that hangs holds up nobody but itself. What became of each message
//! is in its incident's story.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use grace_model::config::Channel;
use grace_model::id::IncidentId;
use serde_json::json;

use super::notify::{self, LOG, Message};
use crate::desk::Desk;

/// A message takes no longer than this.
const LIMIT: Duration = Duration::from_secs(5);
/// Messages of one channel that wait. With a receiver that always hangs this is five minutes of
/// them; whoever does not take messages for so long reads the story instead.
const WAITING: usize = 64;

/// The herald.
pub struct Herald {
    queues: BTreeMap<String, SyncSender<Message>>,
    desk: Weak<Desk>,
}

impl Herald {
    /// For these channels, and `log`.
    #[must_use]
    pub fn new(channels: &BTreeMap<String, Channel>, desk: &Arc<Desk>) -> Self {
        let mut names: Vec<String> = channels.keys().cloned().collect();
        if !names.iter().any(|name| name == LOG) {
            names.push(LOG.to_owned());
        }
        let mut queues = BTreeMap::new();
        for name in names {
            let (sender, queue) = sync_channel(WAITING);
            let (own, all) = (name.clone(), channels.clone());
            let desk = Arc::downgrade(desk);
            let thread = std::thread::Builder::new()
                .name(format!("tell-{own}"))
                .spawn(move || carry(&own, &all, &queue, &desk));
            match thread {
                Ok(_ends_with_its_queue) => {
                    queues.insert(name, sender);
                }
                Err(e) => {
                    tracing::error!(channel = name, cause = %e, "no thread: nobody is told there");
                }
            }
        }
        Self {
            queues,
            desk: Arc::downgrade(desk),
        }
    }

    /// Gives a message to every channel and returns at once.
    pub fn tell(&self, message: Message) {
        for (name, queue) in &self.queues {
            let told = queue.try_send(message.clone());
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = told {
                let problem = format!("{WAITING} messages before it wait already");
                note(&self.desk, name, &message, Err(&problem));
            }
        }
    }
}

fn carry(
    name: &str,
    channels: &BTreeMap<String, Channel>,
    queue: &Receiver<Message>,
    desk: &Weak<Desk>,
) {
    while let Ok(message) = queue.recv() {
        let sent = notify::send(channels, name, &message, LIMIT);
        note(
            desk,
            name,
            &message,
            sent.as_ref().map_err(String::as_str).copied(),
        );
    }
}

/// In the log and in the incident's story. The desk is gone when the healer ended meanwhile.
fn note(desk: &Weak<Desk>, channel: &str, message: &Message, sent: Result<(), &str>) {
    if let Err(problem) = sent {
        tracing::error!(
            channel,
            cause = problem,
            subject = message.subject,
            "nobody was told"
        );
    }
    let (Some(desk), Some(incident)) = (desk.upgrade(), &message.incident) else {
        return;
    };
    let id = IncidentId::from(incident.as_str());
    let kind = if sent.is_ok() { "told" } else { "not-told" };
    let body = json!({ "channel": channel, "message": message.id, "subject": message.subject,
                       "problem": sent.err() });
    let written = desk.change(|draft| draft.entry(kind, &id, &body));
    if let Err(e) = written {
        tracing::warn!(incident, cause = %e, "that somebody was told is not in the story");
    }
}
