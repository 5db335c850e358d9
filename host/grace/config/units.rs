//! Values with units as they are written in `grace.toml`: times, sizes, addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A time such as `500ms`, `5s`, `2m`, `1h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub u64);

/// A size such as `64KiB`, `1MiB`, `512B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// An address to listen on: `127.0.0.1:8080`, `:8080` (all interfaces), `localhost:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

impl Millis {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no time; write a whole number and a unit, such as \"500ms\", \"5s\", \"2m\", \"1h\" or \"30d\""
            )
        };
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        // Sums of two times must not run over anywhere.
        let longest = 3_650 * 86_400_000;
        match number.checked_mul(factor) {
            Some(ms) if ms <= longest => Ok(Self(ms)),
            Some(_) => Err(format!("{text:?} is too long; at most \"3650d\"")),
            None => Err(wrong()),
        }
    }
}

/// A time as a command is given it, in milliseconds.
pub fn duration_ms(text: &str) -> Option<u64> {
    Millis::parse(text).ok().map(|time| time.0)
}

impl Bytes {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no size; write a whole number and a unit, such as \"512B\", \"64KiB\" or \"1MiB\""
            )
        };
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!(
                "{text:?} has no port; write an address and a port, such as \"127.0.0.1:8080\" or \":8080\""
            ));
        };
        let port: u16 = port
            .parse()
            .map_err(|_| format!("{port:?} is no port; use 1 to 65535, or 0 for any free one"))?;
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let ip = match host {
            "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => host.parse().map_err(|_| {
                format!("{host:?} is no IP address; use one of this machine, 127.0.0.1, or nothing for all")
            })?,
        };
        Ok(Self(SocketAddr::new(ip, port)))
    }
}

macro_rules! from_text {
    ($name:ident, $expects:literal, $parse:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expects)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let parse: fn(&str) -> Result<$name, String> = $parse;
                        parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    };
}

from_text!(
    Millis,
    "a time in quotes, such as \"500ms\" or \"5s\"",
    Millis::parse
);
from_text!(Bytes, "a size in quotes, such as \"64KiB\"", Bytes::parse);
from_text!(
    Listen,
    "an address in quotes, such as \"127.0.0.1:8080\"",
    |text| text.parse()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(Millis::parse(text), Ok(Millis(ms)));
        }
        for long in ["3651d", "999999h"] {
            assert!(
                Millis::parse(long).unwrap_err().contains("too long"),
                "{long}"
            );
        }
        for bad in [
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 days",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert!(Millis::parse(bad).unwrap_err().contains("5s"), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(Bytes::parse("64KiB"), Ok(Bytes(65_536)));
        assert_eq!(Bytes::parse("1 MiB"), Ok(Bytes(1 << 20)));
        for bad in ["64", "64kb", "KiB", "99999999999GiB"] {
            assert!(Bytes::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_ports_and_may_leave_out_the_host() {
        for (text, addr) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(text.parse(), Ok(Listen(addr.parse().unwrap())), "{text}");
        }
        for (bad, hint) in [
            ("127.0.0.1", "no port"),
            ("a:b", "65535"),
            ("example.org:80", "IP address"),
            (":70000", "65535"),
        ] {
            let error = bad.parse::<Listen>().unwrap_err();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }
}
