//! Where an instance listens, and how it is reached. It knows nothing of HTTP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use grace_model::ipc::TableInstance;
use tokio::net::{TcpStream, UnixStream};

use crate::socket::Stream;

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// What the table says; none when it has no socket.
    pub(crate) fn of(instance: &TableInstance) -> Option<Self> {
        let tcp = instance.addr.map(Address::Tcp);
        tcp.or_else(|| instance.unix.clone().map(Address::Unix))
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nobody listens, also when the connection would be to itself.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Tcp(addr) => {
                let stream = TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                if stream.local_addr()? == *addr {
                    // The kernel took the very port that nobody listens on for our own end.
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionRefused,
                        "nobody listens; the connection was to itself",
                    ));
                }
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// As a probe's Host header.
    pub(crate) fn host(&self) -> String {
        match self {
            Address::Tcp(addr) => addr.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}
