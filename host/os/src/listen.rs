//! Listening sockets: bound by one process for sure, then shared by a fixed set of listeners.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::OsError;
use crate::holder::{self, Holder};

/// Connections that may wait to be accepted on one listener.
pub const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another has it.
    #[error("{addr} is taken{}; stop that program or choose another address",
        .holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    Taken {
        /// The address.
        addr: SocketAddr,
        /// Who has it, if that can be seen.
        holder: Option<Holder>,
    },
    /// Ports below 1024 need a privilege.
    #[error(
        "{addr} may not be listened on as this user: use a port from 1024 on, or give the \
             program CAP_NET_BIND_SERVICE"
    )]
    Denied {
        /// The address.
        addr: SocketAddr,
    },
    /// The machine has no such address.
    #[error(
        "{addr} is no address of this machine; use one that `ip address` shows, 127.0.0.1 \
             or 0.0.0.0"
    )]
    NotHere {
        /// The address.
        addr: SocketAddr,
    },
    /// Something else.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// Listens on `addr` with `count` listeners (at least one) that share its connections. Port 0
/// gives all the same free port. They are non-blocking and close-on-exec.
///
/// The first one is bound without SO_REUSEPORT, so that a port another process of the same
/// user listens on, even with SO_REUSEPORT, is an error; only then is it opened for the rest.
///
/// # Errors
/// [`ListenError`].
pub fn bind_exclusive_then_reuseport(
    addr: SocketAddr,
    count: usize,
) -> Result<Vec<TcpListener>, ListenError> {
    let first = open(addr)?;
    rustix::net::bind(&first, &addr).map_err(|errno| refused(addr, errno))?;
    share(&first, addr)?;
    let first = TcpListener::from(first);
    let bound = first
        .local_addr()
        .map_err(|source| OsError::new("getsockname", addr, source))?;
    let mut listeners = vec![first];
    for _ in 1..count {
        let next = open(bound)?;
        share(&next, bound)?;
        rustix::net::bind(&next, &bound).map_err(|errno| refused(bound, errno))?;
        listeners.push(TcpListener::from(next));
    }
    for listener in &listeners {
        rustix::net::listen(listener, BACKLOG).map_err(|errno| refused(bound, errno))?;
    }
    Ok(listeners)
}

/// One listener that nobody shares, for an instance that inherits its socket: blocking, as
/// programs expect of what they inherit.
///
/// # Errors
/// [`ListenError`].
pub fn bind_exclusive(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let socket = open(addr)?;
    rustix::net::bind(&socket, &addr).map_err(|errno| refused(addr, errno))?;
    rustix::net::listen(&socket, BACKLOG).map_err(|errno| refused(addr, errno))?;
    let listener = TcpListener::from(socket);
    listener
        .set_nonblocking(false)
        .map_err(|source| OsError::new("ioctl", addr, source))?;
    Ok(listener)
}

/// Lets every connection that is accepted on `listener` send small writes at once: on Linux it
/// inherits TCP_NODELAY, which saves a system call for each.
///
/// # Errors
/// [`OsError`], for what is no TCP socket.
pub fn send_at_once(listener: impl AsFd) -> Result<(), OsError> {
    sockopt::set_tcp_nodelay(listener, true)
        .map_err(|source| OsError::new("setsockopt(TCP_NODELAY)", "a listener", source))
}

fn open(addr: SocketAddr) -> Result<OwnedFd, OsError> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
        .map_err(|source| OsError::new("socket", addr, source))?;
    // Old connections in TIME_WAIT are no reason to refuse a restart.
    sockopt::set_socket_reuseaddr(&socket, true)
        .map_err(|source| OsError::new("setsockopt(SO_REUSEADDR)", addr, source))?;
    Ok(socket)
}

fn share(socket: impl AsFd, addr: SocketAddr) -> Result<(), OsError> {
    sockopt::set_socket_reuseport(socket, true)
        .map_err(|source| OsError::new("setsockopt(SO_REUSEPORT)", addr, source))
}

fn refused(addr: SocketAddr, errno: rustix::io::Errno) -> ListenError {
    match io::Error::from(errno).kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken {
            addr,
            holder: holder::of_tcp_port(addr.port()),
        },
        io::ErrorKind::PermissionDenied => ListenError::Denied { addr },
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere { addr },
        _ => OsError::new("bind", addr, errno).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn what_is_accepted_inherits_from_its_listener_that_it_sends_at_once() {
        for asked in [false, true] {
            let listener = bind_exclusive(loopback(0)).unwrap();
            if asked {
                send_at_once(&listener).unwrap();
            }
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(accepted.nodelay().unwrap(), asked);
        }
    }

    #[test]
    fn all_listeners_have_the_same_port_and_each_gets_connections() {
        let listeners = bind_exclusive_then_reuseport(loopback(0), 3).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        assert!(
            listeners
                .iter()
                .all(|listener| listener.local_addr().unwrap() == addr)
        );
        let mut accepted = [0; 3];
        let end = Instant::now() + Duration::from_secs(10);
        while accepted.contains(&0) && Instant::now() < end {
            let _client = TcpStream::connect(addr).unwrap();
            for (listener, count) in listeners.iter().zip(&mut accepted) {
                if listener.accept().is_ok() {
                    *count += 1;
                }
            }
        }
        assert!(!accepted.contains(&0), "{accepted:?}");
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_its_holder_also_when_the_holder_shares_it() {
        let held = bind_exclusive_then_reuseport(loopback(0), 2).unwrap();
        let addr = held[0].local_addr().unwrap();
        let error = bind_exclusive_then_reuseport(addr, 2).unwrap_err();
        let ListenError::Taken {
            holder: Some(holder),
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(holder.pid, std::process::id());
        assert!(
            error.to_string().contains(&format!("pid {}", holder.pid)),
            "{error}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_told_as_such() {
        let addr = SocketAddr::from(([192, 0, 2, 1], 0));
        assert!(matches!(
            bind_exclusive_then_reuseport(addr, 1),
            Err(ListenError::NotHere { .. })
        ));
    }
}
