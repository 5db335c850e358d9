//! Open files sent over Unix sockets, and who is at the other end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::{OsError, Result};

/// The kernel sends at most 253 open files a message.
pub const MOST_FDS: usize = 253;

/// What one receive gave.
#[derive(Debug)]
pub struct Received {
    /// The bytes. Empty, with no open files: the other end has closed.
    pub bytes: Vec<u8>,
    /// The open files, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

impl Received {
    /// Whether the other end has closed.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.bytes.is_empty() && self.fds.is_empty()
    }
}

/// Who is at the other end of a Unix socket, as of its connect or listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A connected pair that keeps message bounds, close-on-exec.
///
/// # Errors
/// [`OsError`].
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|source| OsError::new("socketpair", "AF_UNIX", source))
}

/// Sends bytes (at least one) with open files. On a stream fewer bytes than given may go;
/// the open files go with the first of them. Gives the number of bytes sent.
///
/// # Errors
/// [`OsError`]; EAGAIN from a full non-blocking socket.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    if bytes.is_empty() || fds.len() > MOST_FDS {
        let object = format!("{} bytes and {} open files", bytes.len(), fds.len());
        return Err(OsError::new("sendmsg", object, rustix::io::Errno::INVAL));
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(fds.len()))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(OsError::new(
            "sendmsg",
            "open files",
            rustix::io::Errno::NOBUFS,
        ));
    }
    loop {
        match rustix::net::sendmsg(
            socket.as_fd(),
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => {
                return result.map_err(|source| {
                    OsError::new("sendmsg", format_args!("{} open files", fds.len()), source)
                });
            }
        }
    }
}

/// Receives at most `most` bytes, with the open files that came with them.
///
/// # Errors
/// [`OsError`]; EMSGSIZE when a message or its open files did not fit (what came of them is
/// closed); EAGAIN from an empty non-blocking socket.
pub fn receive(socket: impl AsFd, most: usize) -> Result<Received> {
    let mut bytes = vec![0; most];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match rustix::net::recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => {
                break result.map_err(|source| OsError::new("recvmsg", "a Unix socket", source))?;
            }
        }
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        let object = format!("a message of more than {most} bytes, or with lost open files");
        return Err(OsError::new("recvmsg", object, rustix::io::Errno::MSGSIZE));
    }
    bytes.truncate(got.bytes);
    Ok(Received { bytes, fds })
}

/// Who connected, or who listened, at the other end.
///
/// # Errors
/// [`OsError`].
pub fn peer(socket: impl AsFd) -> Result<Peer> {
    let cred = rustix::net::sockopt::socket_peercred(socket)
        .map_err(|source| OsError::new("getsockopt", "SO_PEERCRED", source))?;
    Ok(Peer {
        pid: cred.pid.as_raw_nonzero().get().unsigned_abs(),
        uid: cred.uid.as_raw(),
        gid: cred.gid.as_raw(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    fn file_with(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn text_of(fd: OwnedFd) -> String {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn open_files_arrive_in_order_with_their_message_and_are_closed_on_exec() {
        let (left, right) = pair().unwrap();
        let (one, two) = (file_with("one"), file_with("two"));
        send(&left, b"names", &[one.as_fd(), two.as_fd()]).unwrap();
        send(&left, b"no files", &[]).unwrap();
        let first = receive(&right, 64).unwrap();
        assert_eq!(first.bytes, b"names");
        for fd in &first.fds {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        assert_eq!(
            first.fds.into_iter().map(text_of).collect::<Vec<_>>(),
            ["one", "two"]
        );
        let second = receive(&right, 64).unwrap();
        assert_eq!(
            (second.bytes.as_slice(), second.fds.len()),
            (b"no files".as_slice(), 0)
        );
        drop(left);
        assert!(receive(&right, 64).unwrap().is_end());
    }

    #[test]
    fn open_files_cross_a_stream_too_and_the_peer_is_known() {
        let (left, right) = UnixStream::pair().unwrap();
        let file = file_with("text");
        assert_eq!(send(&left, b"x", &[file.as_fd()]).unwrap(), 1);
        let got = receive(&right, 64).unwrap();
        assert_eq!(got.bytes, b"x");
        assert_eq!(
            got.fds.into_iter().map(text_of).collect::<Vec<_>>(),
            ["text"]
        );
        let peer = peer(&right).unwrap();
        assert_eq!(
            (peer.pid, peer.uid),
            (std::process::id(), crate::user::effective_uid())
        );
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error_and_not_a_shorter_message() {
        let (left, right) = pair().unwrap();
        send(&left, b"too long", &[]).unwrap();
        assert!(receive(&right, 3).unwrap_err().is(libc::EMSGSIZE));
        assert!(send(&left, b"", &[]).is_err());
    }
}
