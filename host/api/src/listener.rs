//! The listening socket: 0600, and only for the user that owns it and for root. It knows nothing
//! of HTTP.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// Accepts connections of the owner and of root; others are closed without a word.
#[derive(Debug)]
pub(crate) struct OwnersListener {
    inner: UnixListener,
    owner: u32,
}

impl OwnersListener {
    /// Binds `path`, replacing a socket that a dead process left there.
    ///
    /// It is bound beside and renamed, so that a client never meets a socket of the wrong mode
    /// or none at all.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let beside = path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let inner = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&beside)?.uid();
        fs::rename(&beside, path)?;
        Ok(Self { inner, owner })
    }
}

impl axum::serve::Listener for OwnersListener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.inner.accept().await {
                Ok((stream, addr)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == self.owner || peer.uid() == 0 => {
                        return (stream, addr);
                    }
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "api: refused another user"),
                    Err(error) => tracing::warn!(%error, "api: a peer without credentials"),
                },
                Err(error) => {
                    // Out of descriptors, most likely: trying at once again would only spin.
                    tracing::warn!(%error, "api: cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Their user.
    pub(crate) by: String,
}

impl Connected<IncomingStream<'_, OwnersListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, OwnersListener>) -> Self {
        let by = stream.io().peer_cred().map_or_else(
            |_| "an unknown user".to_owned(),
            |peer| format!("uid {}", peer.uid()),
        );
        Self { by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_its_owner_only_and_replaces_a_stale_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(OwnersListener::bind(&path).unwrap());
        assert!(path.exists(), "a dead process leaves its socket");
        let _again = OwnersListener::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(UnixStream::connect(&path).await.is_ok());
    }
}
