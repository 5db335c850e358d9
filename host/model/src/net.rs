//! Networks as people write them: an address, or an address and how many bits of it count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// All addresses whose first `bits` are those of `addr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// One of them.
    pub addr: IpAddr,
    /// How many bits count: at most 32, or 128 for IPv6.
    pub bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; write an address (\"10.0.0.7\") or one with bits (\"10.0.0.0/8\")")]
pub struct NetError(String);

impl Net {
    /// Whether an address is of it. An IPv4 address inside IPv6 is the IPv4 address.
    #[must_use]
    pub fn holds(&self, addr: IpAddr) -> bool {
        match (self.addr.to_canonical(), addr.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.bits));
                let cut = |it: u32| it.checked_shr(shift).unwrap_or(0);
                cut(net.to_bits()) == cut(addr.to_bits())
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.bits));
                let cut = |it: u128| it.checked_shr(shift).unwrap_or(0);
                cut(net.to_bits()) == cut(addr.to_bits())
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let wrong = || NetError(text.to_owned());
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(wrong)?,
        };
        Ok(Self { addr, bits })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "1.2.3.4", "::2"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
        ] {
            let net: Net = net.parse().unwrap();
            assert!(net.holds(inside.parse().unwrap()), "{net} {inside}");
            assert!(!net.holds(outside.parse().unwrap()), "{net} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_how_one_is_written() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "shop",
            "10.0.0.0/-1",
        ] {
            let error = text.parse::<Net>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{text}: {error}");
        }
    }
}
