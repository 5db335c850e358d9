//! The PROXY header: what a load balancer says first on a connection about the client behind it.
//! Versions 1 and 2 by the protocol's specification (proxy-protocol.txt of HAProxy, 2020). Read
//! byte-exact, so that nothing of what follows is taken. Whoever may connect may lie in it, so it
//! is read only where the configuration says that a trusted one stands in front.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use grace_model::config::ProxyVersion;
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The shortest header of all, `PROXY UNKNOWN` with its line's end: so much may be read at once.
const LEAST: usize = 15;
/// The longest line of version 1.
const LINE_MAX: usize = 107;
/// The longest header of version 2 that is read; more would be extensions without end.
const WHOLE_MAX: usize = 4_096;

/// Both ends of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

/// What a header's bytes come to.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// At least so many bytes are missing.
    More(usize),
    /// A whole one. None: the connection is the balancer's own, or it does not know.
    Whole(Option<Ends>),
    /// It is none.
    Bad(&'static str),
}

/// Reads the header, and no byte more.
///
/// # Errors
/// When there is none, or the connection ends in it.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut bytes = Vec::with_capacity(LINE_MAX);
    loop {
        match parse(&bytes) {
            Parsed::More(count) => {
                let have = bytes.len();
                bytes.resize(have + count, 0);
                stream
                    .read_exact(bytes.get_mut(have..).unwrap_or_default())
                    .await?;
            }
            Parsed::Whole(ends) => return Ok(ends),
            Parsed::Bad(problem) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Parsed {
    if bytes.len() < LEAST {
        return Parsed::More(LEAST - bytes.len());
    }
    if let Some(rest) = bytes.strip_prefix(SIGNATURE) {
        return binary(rest);
    }
    if !bytes.starts_with(b"PROXY ") {
        return Parsed::Bad("there is no PROXY header");
    }
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => text(line),
        None if bytes.len() >= LINE_MAX => Parsed::Bad("the PROXY line is too long"),
        None => Parsed::More(1),
    }
}

fn text(line: &[u8]) -> Parsed {
    let Ok(line) = std::str::from_utf8(line) else {
        return Parsed::Bad("the PROXY line is no text");
    };
    let words: Vec<&str> = line.split(' ').collect();
    let ends = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => return Parsed::Whole(None),
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let ip = |text: &str| text.parse().map(IpAddr::V4).ok();
            ends((ip(from), port(from_port)), (ip(to), port(to_port)))
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let ip = |text: &str| text.parse().map(IpAddr::V6).ok();
            ends((ip(from), port(from_port)), (ip(to), port(to_port)))
        }
        _ => None,
    };
    ends.map_or(Parsed::Bad("the PROXY line is malformed"), |ends| {
        Parsed::Whole(Some(ends))
    })
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

fn ends(
    client: (Option<IpAddr>, Option<u16>),
    server: (Option<IpAddr>, Option<u16>),
) -> Option<Ends> {
    Some(Ends {
        client: (client.0?, client.1?).into(),
        server: (server.0?, server.1?).into(),
    })
}

/// Version 2 behind its signature.
fn binary(rest: &[u8]) -> Parsed {
    let [command, family, high, low, addresses @ ..] = rest else {
        return Parsed::More(4_usize.saturating_sub(rest.len()));
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > WHOLE_MAX {
        return Parsed::Bad("the PROXY header is too long");
    }
    if addresses.len() < length {
        return Parsed::More(length - addresses.len());
    }
    match (command, family) {
        (0x20, _) | (0x21, 0x00) => Parsed::Whole(None),
        (0x21, 0x11) => known(four(addresses)),
        (0x21, 0x21) => known(six(addresses)),
        // Datagrams and Unix sockets: said of a stream, nothing that is of use here.
        (0x21, 0x12 | 0x22 | 0x31 | 0x32) => Parsed::Whole(None),
        _ => Parsed::Bad("the PROXY header is of an unknown version or family"),
    }
}

fn known(ends: Option<Ends>) -> Parsed {
    ends.map_or(Parsed::Bad("the PROXY header is too short"), |ends| {
        Parsed::Whole(Some(ends))
    })
}

fn four(bytes: &[u8]) -> Option<Ends> {
    let (from, rest) = bytes.split_first_chunk::<4>()?;
    let (to, rest) = rest.split_first_chunk::<4>()?;
    let (from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    Some(Ends {
        client: (Ipv4Addr::from(*from), u16::from_be_bytes(*from_port)).into(),
        server: (Ipv4Addr::from(*to), u16::from_be_bytes(*to_port)).into(),
    })
}

fn six(bytes: &[u8]) -> Option<Ends> {
    let (from, rest) = bytes.split_first_chunk::<16>()?;
    let (to, rest) = rest.split_first_chunk::<16>()?;
    let (from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    Some(Ends {
        client: (Ipv6Addr::from(*from), u16::from_be_bytes(*from_port)).into(),
        server: (Ipv6Addr::from(*to), u16::from_be_bytes(*to_port)).into(),
    })
}

/// The header to send. None: the connection is the proxy's own, such as a probe's.
pub(crate) fn write(version: ProxyVersion, ends: Option<Ends>) -> Vec<u8> {
    // Both ends as one family; mapped addresses cover the mixed case.
    let ends = ends.map(|ends| {
        let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        (plain(ends.client), plain(ends.server))
    });
    match version {
        ProxyVersion::V1 => match ends {
            None => b"PROXY UNKNOWN\r\n".to_vec(),
            Some((from, to)) => {
                let (family, from_ip, to_ip) = match (from.ip(), to.ip()) {
                    (IpAddr::V4(from), IpAddr::V4(to)) => {
                        ("TCP4", from.to_string(), to.to_string())
                    }
                    (from, to) => ("TCP6", wide(from).to_string(), wide(to).to_string()),
                };
                let ports = (from.port(), to.port());
                format!(
                    "PROXY {family} {from_ip} {to_ip} {} {}\r\n",
                    ports.0, ports.1
                )
                .into_bytes()
            }
        },
        ProxyVersion::V2 => {
            let mut bytes = SIGNATURE.to_vec();
            let Some((from, to)) = ends else {
                bytes.extend([0x20, 0x00, 0, 0]);
                return bytes;
            };
            match (from.ip(), to.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    bytes.extend([0x21, 0x11, 0, 12]);
                    bytes.extend(from.octets());
                    bytes.extend(to.octets());
                }
                (from, to) => {
                    bytes.extend([0x21, 0x21, 0, 36]);
                    bytes.extend(wide(from).octets());
                    bytes.extend(wide(to).octets());
                }
            }
            bytes.extend(from.port().to_be_bytes());
            bytes.extend(to.port().to_be_bytes());
            bytes
        }
    }
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: &[u8]) -> (io::Result<Option<Ends>>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut left = bytes;
        let result = runtime.block_on(read(&mut left));
        (result, left.len())
    }

    fn pair(client: &str, server: &str) -> Ends {
        Ends {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_again_to_the_byte() {
        let all = [
            None,
            Some(pair("10.0.0.1:1", "127.0.0.1:65535")),
            Some(pair("[2001:db8::1]:443", "[::1]:80")),
        ];
        for ends in all {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut bytes = write(version, ends);
                bytes.extend(b"GET / HTTP/1.1\r\n");
                let (read, left) = run(&bytes);
                assert_eq!(read.unwrap(), ends, "{version:?}");
                assert_eq!(left, 16, "nothing of what follows is taken");
            }
        }
    }

    #[test]
    fn mixed_families_are_told_as_the_wider_one() {
        let ends = Some(pair("10.0.0.1:1", "[2001:db8::1]:2"));
        let told = pair("[::ffff:10.0.0.1]:1", "[2001:db8::1]:2");
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            assert_eq!(run(&write(version, ends)).0.unwrap(), Some(told));
        }
    }

    #[test]
    fn a_header_that_cannot_be_read_is_refused() {
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        let v2 = |rest: &[u8]| [SIGNATURE.to_vec(), rest.to_vec()].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4".to_vec(),
            long,
            v2(&[0x11, 0x11, 0, 0]),
            v2(&[0x22, 0x11, 0, 0]),
            v2(&[0x21, 0x11, 0, 4, 1, 2, 3, 4]),
            v2(&[0x21, 0x11, 0xff, 0xff]),
            v2(&[0x21, 0x11, 0, 12, 1]),
            v2(&[0x21]),
        ] {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            assert!(run(&bytes).0.is_err(), "{shown:?}");
        }
    }

    #[test]
    fn extensions_and_families_of_no_use_are_passed_over() {
        let v2 = |rest: &[u8]| [SIGNATURE.to_vec(), rest.to_vec()].concat();
        let tlv = v2(&[
            0x21, 0x11, 0, 17, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10, 4, 0, 2, 7, 7,
        ]);
        assert_eq!(run(&tlv).0.unwrap(), Some(pair("1.2.3.4:9", "5.6.7.8:10")));
        assert_eq!(run(&v2(&[0x21, 0x31, 0, 1, 9])).0.unwrap(), None);
        assert_eq!(run(&v2(&[0x20, 0x11, 0, 2, 9, 9])).0.unwrap(), None);
        assert_eq!(run(b"PROXY UNKNOWN ffff::1 x y\r\n").0.unwrap(), None);
    }

    #[test]
    fn no_bytes_make_the_reader_fall() {
        let mut dice = fastrand::Rng::with_seed(3);
        let starts: [&[u8]; 3] = [b"PROXY TCP4 ", SIGNATURE, b""];
        for round in 0..20_000 {
            let mut bytes = starts[round % 3].to_vec();
            bytes.extend((0..dice.usize(..40)).map(|_| dice.u8(..)));
            let _ = run(&bytes);
        }
    }
}
