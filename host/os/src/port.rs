//! Ports for instances, from outside the range that the kernel gives to outgoing connections:
//! a connect to a dead port inside it can meet itself.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::OsError;

/// Where ports of instances are taken from unless the kernel's range says otherwise.
pub const USUAL: RangeInclusive<u16> = 20_000..=31_999;

/// No port is free.
#[derive(Debug, thiserror::Error)]
#[error("no free port from {} to {}; stop programs that listen there, or narrow \
         net.ipv4.ip_local_port_range", .range.start(), .range.end())]
pub struct NoPort {
    /// Where it was looked for.
    pub range: RangeInclusive<u16>,
}

/// The kernel's range for outgoing connections.
#[must_use]
pub fn ephemeral() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text
        .split_ascii_whitespace()
        .filter_map(|text| text.parse::<u16>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(low), Some(high)) => low..=high,
        _ => 32_768..=60_999,
    }
}

/// The longer piece outside the kernel's range: [`USUAL`] if that is outside. Where nothing
/// is left outside it is [`USUAL`] too, and a connect to a dead port can meet itself.
#[must_use]
pub fn instance_range() -> RangeInclusive<u16> {
    outside(&ephemeral())
}

fn outside(taken: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    let (low, high) = (*taken.start(), *taken.end());
    if low > *USUAL.end() || high < *USUAL.start() {
        return USUAL;
    }
    let below = 1024..=low.saturating_sub(1);
    let above = high.checked_add(1).map(|first| first..=u16::MAX);
    match above {
        Some(above) if above.len() > below.len() => above,
        _ if below.is_empty() => USUAL,
        _ => below,
    }
}

/// Whether a server could listen on this port now, on every address, also one that does not
/// set SO_REUSEADDR.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    // On [::] both families are asked at once; without IPv6 only the old one is.
    match try_bind(any6) {
        Ok(free) => free,
        Err(_) => try_bind(any4).unwrap_or(false),
    }
}

fn try_bind(addr: SocketAddr) -> Result<bool, OsError> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|source| OsError::new("socket", addr, source))?;
    if addr.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)
            .map_err(|source| OsError::new("setsockopt(IPV6_V6ONLY)", addr, source))?;
    }
    match rustix::net::bind(&socket, &addr) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ADDRINUSE) => Ok(false),
        Err(source) => Err(OsError::new("bind", addr, source)),
    }
}

/// A free port: `preferred` if it is free, else the first one from there on, around `range`.
/// `used` names ports that are spoken for though nobody listens yet.
///
/// # Errors
/// [`NoPort`].
pub fn free_port(
    preferred: Option<u16>,
    range: RangeInclusive<u16>,
    used: impl Fn(u16) -> bool,
) -> Result<u16, NoPort> {
    let start = preferred
        .filter(|port| range.contains(port))
        .unwrap_or(*range.start());
    (start..=*range.end())
        .chain(*range.start()..start)
        .find(|port| !used(*port) && is_free(*port))
        .ok_or(NoPort { range })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_range_of_instances_never_meets_the_kernels() {
        for taken in [
            32_768..=60_999,
            10_000..=65_535,
            10_000..=65_000,
            1024..=25_000,
        ] {
            let ours = outside(&taken);
            assert!(
                ours.clone().all(|port| !taken.contains(&port)),
                "{taken:?} {ours:?}"
            );
        }
        assert_eq!(outside(&(32_768..=60_999)), USUAL);
        assert_eq!(outside(&(1024..=65_535)), USUAL);
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free_on_whatever_address() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(!is_free(port));
        let other = free_port(Some(port), port..=u16::MAX, |_| false).unwrap();
        assert!(other > port);
    }

    #[test]
    fn no_port_at_all_is_an_error_with_a_remedy() {
        let error = free_port(None, instance_range(), |_| true).unwrap_err();
        assert!(error.to_string().contains("ip_local_port_range"));
    }
}
