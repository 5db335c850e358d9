//! Small tasks that wait on one open file and tell the core.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use grace_model::id::InstanceId;
use grace_os::OsError;
use grace_os::notify::NotifySocket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::core::Message;

/// Sends `message` when the process of `handle` dies.
pub(crate) fn death(
    handle: &OwnedFd,
    messages: &mpsc::Sender<Message>,
    message: Message,
) -> Result<AbortHandle, OsError> {
    let failed = |source| OsError::new("epoll", "a pidfd", source);
    let own = handle.try_clone().map_err(failed)?;
    let watched = readable(own).map_err(failed)?;
    let messages = messages.clone();
    let task = tokio::spawn(async move {
        if watched.readable().await.is_ok() {
            let _ = messages.send(message).await;
        }
    });
    Ok(task.abort_handle())
}

/// Sends every notification of an instance.
pub(crate) fn notifications(
    socket: NotifySocket,
    instance: InstanceId,
    messages: &mpsc::Sender<Message>,
) -> Result<AbortHandle, OsError> {
    let failed = |source| OsError::new("epoll", "a notify socket", source);
    let own = socket.as_fd().try_clone_to_owned().map_err(failed)?;
    let watched = readable(own).map_err(failed)?;
    let messages = messages.clone();
    let task = tokio::spawn(async move {
        while let Ok(mut ready) = watched.readable().await {
            match socket.receive() {
                Ok(Some(what)) => {
                    let instance = instance.clone();
                    if messages
                        .send(Message::Notified { instance, what })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Ok(None) => ready.clear_ready(),
                Err(error) => {
                    tracing::error!(%error, %instance, "notifications are not heard any more");
                    return;
                }
            }
        }
    });
    Ok(task.abort_handle())
}

/// Has the runtime watch an open file that `T` owns.
#[allow(
    deprecated,
    reason = "the successor is an unsafe function, and unsafe code is for `os` alone; what it \
              asks for, an open file that stays the same while it is watched, is true of the \
              two owners this is called with"
)]
pub(crate) fn readable<T: Owner>(of: T) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(of, Interest::READABLE)
}

/// Owns one open file for its whole life and never changes it.
pub(crate) trait Owner: AsRawFd {}

impl Owner for OwnedFd {}
impl Owner for std::fs::File {}
