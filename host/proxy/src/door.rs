//! The proxy's own socket: gives its listening sockets to an adopting host, and its numbers to
//! whoever may connect, which is this user and root.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::control::News;

/// Longest line that anyone has to say here.
const LINE_MAX: usize = 256;

/// A listening socket under its name, `listen:SERVICE:N`.
pub(crate) type Named = (String, OwnedFd);

/// Binds the socket, in place of one that a proxy before left behind.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers for ever.
pub(crate) async fn serve(listener: UnixListener, named: Rc<Vec<Named>>, news: mpsc::Sender<News>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (named, news) = (Rc::clone(&named), news.clone());
                tokio::task::spawn_local(async move {
                    if let Err(error) = answer(stream, &named, &news).await {
                        tracing::debug!(%error, "a connection to the proxy's socket broke off");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the proxy's socket");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(
    mut stream: UnixStream,
    named: &[Named],
    news: &mpsc::Sender<News>,
) -> io::Result<()> {
    let me = grace_os::user::effective_uid();
    let peer = stream.peer_cred()?.uid();
    if peer != me && peer != 0 {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    let mut said = Vec::new();
    loop {
        let Some(end) = said.iter().position(|byte| *byte == b'\n') else {
            if said.len() > LINE_MAX || stream.read_buf(&mut said).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let line: Vec<u8> = said.drain(..=end).collect();
        match line.trim_ascii() {
            b"listeners" => hand_over(&stream, named).await?,
            b"stats" => {
                let (reply, stats) = oneshot::channel();
                if news.send(News::Stats(reply)).await.is_err() {
                    return Ok(());
                }
                let mut stats = stats.await.unwrap_or_default();
                stats.push('\n');
                stream.write_all(stats.as_bytes()).await?;
            }
            _ => {
                let words = b"{\"error\":\"say `listeners` or `stats`\"}\n";
                stream.write_all(words).await?;
            }
        }
    }
}

/// One message for each listener, its name with it, then `end`.
async fn hand_over(stream: &UnixStream, named: &[Named]) -> io::Result<()> {
    for (name, fd) in named {
        send(stream, name.as_bytes(), Some(fd)).await?;
    }
    send(stream, b"end", None).await
}

async fn send(stream: &UnixStream, bytes: &[u8], fd: Option<&OwnedFd>) -> io::Result<()> {
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
            grace_os::pass::send(stream, bytes, &fds).map_err(|error| error.source)
        })
        .await?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}
