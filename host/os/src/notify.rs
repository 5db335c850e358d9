//! The receiving end of `sd_notify`: datagrams of `KEY=VALUE` lines, with the kernel's word on
//! who sent them.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, sockopt,
};

use crate::error::{OsError, Result};

/// Longer messages are cut.
const LONGEST: usize = 8 * 1024;

/// A bound notify socket, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    address: String,
    path: Option<PathBuf>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Who sent it.
    pub pid: u32,
    /// Its lines as key and value.
    pub fields: Vec<(String, String)>,
}

impl Notification {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// `READY=1`.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.get("READY") == Some("1")
    }

    /// `WATCHDOG=1`.
    #[must_use]
    pub fn is_heartbeat(&self) -> bool {
        self.get("WATCHDOG") == Some("1")
    }

    /// `STOPPING=1`.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.get("STOPPING") == Some("1")
    }
}

impl NotifySocket {
    /// Binds at a path, replacing a socket that a dead process left there. Every user may
    /// write to it; the directory says who can reach it.
    ///
    /// # Errors
    /// [`OsError`]; also for a path of more than 107 bytes, which no socket can have.
    pub fn bind(path: &Path) -> Result<Self> {
        let failed = |call, source| OsError::new(call, path.display(), source);
        let address = SocketAddrUnix::new(path)
            .map_err(|source| failed("bind", std::io::Error::from(source)))?;
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("unlink", error)),
        }
        let socket = open(&address, &path.display().to_string())?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))
            .map_err(|source| failed("chmod", source))?;
        Ok(Self {
            socket,
            address: path.display().to_string(),
            path: Some(path.to_owned()),
        })
    }

    /// Binds an abstract name: reachable for every user of the network namespace without a
    /// directory on the way, so for a child under another user than ours. Who sends is told
    /// by [`Notification::pid`].
    ///
    /// # Errors
    /// [`OsError`]; EADDRINUSE when another has the name.
    pub fn bind_abstract(name: &str) -> Result<Self> {
        let object = format!("@{name}");
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .map_err(|source| OsError::new("bind", &object, source))?;
        let socket = open(&address, &object)?;
        Ok(Self {
            socket,
            address: object,
            path: None,
        })
    }

    /// An already bound socket, as kept and passed on by another process. `address` is what
    /// its senders were told.
    #[must_use]
    pub fn from_fd(socket: OwnedFd, address: String) -> Self {
        Self {
            socket,
            address,
            path: None,
        }
    }

    /// What `$NOTIFY_SOCKET` must say.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next message; none when there is none now.
    ///
    /// # Errors
    /// [`OsError`].
    pub fn receive(&self) -> Result<Option<Notification>> {
        let mut bytes = vec![0; LONGEST];
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(16))];
        loop {
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let got = match rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            ) {
                Ok(got) => got,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(source) => return Err(OsError::new("recvmsg", &self.address, source)),
            };
            let mut pid = None;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmCredentials(cred) = message {
                    pid = Some(cred.pid.as_raw_nonzero().get().unsigned_abs());
                }
            }
            // Without the kernel's word on the sender it could be anybody's.
            let Some(pid) = pid else { continue };
            let text = String::from_utf8_lossy(bytes.get(..got.bytes).unwrap_or_default());
            let fields = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            return Ok(Some(Notification { pid, fields }));
        }
    }
}

fn open(address: &SocketAddrUnix, object: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .map_err(|source| OsError::new("socket", object, source))?;
    sockopt::set_socket_passcred(&socket, true)
        .map_err(|source| OsError::new("setsockopt(SO_PASSCRED)", object, source))?;
    rustix::net::bind(&socket, address).map_err(|source| OsError::new("bind", object, source))?;
    Ok(socket)
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn a_message_is_told_with_its_sender_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.sock");
        let by_path = NotifySocket::bind(&path).unwrap();
        let name = format!("grace-test-{}", std::process::id());
        let by_name = NotifySocket::bind_abstract(&name).unwrap();
        assert_eq!(by_name.address(), format!("@{name}"));
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1\nSTATUS=a=b\n", &path).unwrap();
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        sender.send_to_addr(b"WATCHDOG=1", &abstract_name).unwrap();
        let first = by_path.receive().unwrap().unwrap();
        assert!(first.is_ready() && !first.is_heartbeat());
        assert_eq!(
            (first.get("STATUS"), first.pid),
            (Some("a=b"), std::process::id())
        );
        assert!(by_name.receive().unwrap().unwrap().is_heartbeat());
        assert_eq!(by_path.receive().unwrap(), None);
        drop(by_path);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_by_a_dead_process_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.sock");
        drop(UnixDatagram::bind(&path).unwrap());
        let socket = NotifySocket::bind(&path).unwrap();
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"READY=1", &path)
            .unwrap();
        assert!(socket.receive().unwrap().unwrap().is_ready());
    }
}
