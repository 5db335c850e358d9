//! What an instance is told of the client: `X-Forwarded-For`, `-Proto` and `-Host`. Whoever asks
//! may write what he likes into such headers, so they are believed of the proxies only that the
//! configuration trusts; of all others they are taken out, and the instance hears what is seen
//! here. It knows headers and addresses, no connection.

use std::net::{IpAddr, SocketAddr};

use grace_model::config::{Front, Trace};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::trace;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who the client is, as headers say it.
#[derive(Debug, Clone)]
pub(crate) struct ClientHead {
    ip: HeaderValue,
    /// Where it connected to: the host of one that names none.
    pub(crate) local: HeaderValue,
    proto: HeaderValue,
    /// It is a proxy whose word counts.
    trusted: bool,
    trace: Trace,
}

impl ClientHead {
    /// Of the client at `peer`, which connected to `local`.
    pub(crate) fn new(peer: IpAddr, local: SocketAddr, tls: bool, front: &Front) -> Self {
        let value = |text: String| {
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        };
        Self {
            ip: value(peer.to_canonical().to_string()),
            local: value(local.to_string()),
            proto: HeaderValue::from_static(if tls { "https" } else { "http" }),
            trusted: front.trusted_proxies.iter().any(|net| net.holds(peer)),
            trace: front.trace,
        }
    }

    /// Writes it into a request's headers; `host` is what the request is for.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, host: HeaderValue) {
        if !self.trusted {
            take_out(headers);
        }
        let through = self.through(headers);
        headers.insert(FOR, through);
        if !(self.trusted && has_one(headers, &PROTO)) {
            headers.insert(PROTO, self.proto.clone());
        }
        if !(self.trusted && has_one(headers, &HOST)) {
            headers.insert(HOST, host);
        }
        if self.trace == Trace::Hop {
            trace::hop(headers, || fastrand::u64(..));
        }
    }

    /// Everyone it came through, the nearest last. Several lines are one list.
    fn through(&self, headers: &HeaderMap) -> HeaderValue {
        let mut list = Vec::new();
        for before in headers.get_all(&FOR) {
            list.extend_from_slice(before.as_bytes());
            list.extend_from_slice(b", ");
        }
        if list.is_empty() {
            return self.ip.clone();
        }
        list.extend_from_slice(self.ip.as_bytes());
        HeaderValue::from_bytes(&list).unwrap_or_else(|_| self.ip.clone())
    }
}

fn has_one(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some() && values.next().is_none()
}

/// Takes out what only a proxy in front could know.
fn take_out(headers: &mut HeaderMap) {
    if !headers.keys().any(is_word_of_proxies) {
        return;
    }
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_word_of_proxies(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_word_of_proxies(name: &HeaderName) -> bool {
    let name = name.as_str();
    // By length first: this is asked of every header of every request.
    match name.len() {
        9 => name == "forwarded" || name == "x-real-ip",
        13.. => name.starts_with("x-forwarded-"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(trusted: &[&str], before: &[(&str, &str)]) -> HeaderMap {
        let front = Front {
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
            ..Front::default()
        };
        let client = ClientHead::new(
            [10, 0, 0, 1].into(),
            ([127, 0, 0, 1], 80).into(),
            false,
            &front,
        );
        let mut headers = HeaderMap::new();
        for (name, value) in before {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        client.tell(&mut headers, HeaderValue::from_static("shop"));
        headers
    }

    const SAID: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.shop"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded", "mine"),
    ];

    #[test]
    fn a_client_that_nobody_trusts_cannot_say_that_it_is_another() {
        for trusted in [&[][..], &["11.0.0.0/8", "10.0.0.2"]] {
            let headers = told(trusted, SAID);
            assert_eq!(headers[&FOR], "10.0.0.1");
            assert_eq!(headers.get_all(&FOR).iter().count(), 1);
            assert_eq!(headers[&PROTO], "http");
            assert_eq!(headers[&HOST], "shop");
            for name in ["x-forwarded-port", "x-real-ip", "forwarded"] {
                assert!(!headers.contains_key(name), "{name}");
            }
            assert_eq!(headers["x-forwarded"], "mine", "is none of them");
        }
    }

    #[test]
    fn a_trusted_proxys_word_is_passed_on_with_itself_at_the_end() {
        let headers = told(&["10.0.0.0/8"], SAID);
        assert_eq!(headers[&FOR], "1.2.3.4, 10.0.0.9, 10.0.0.1");
        assert_eq!(headers[&PROTO], "https");
        assert_eq!(headers[&HOST], "www.shop");
        assert_eq!(headers["x-forwarded-port"], "443");
        assert_eq!(headers["x-real-ip"], "1.2.3.4");
        assert_eq!(headers["forwarded"], "for=1.2.3.4");
    }

    #[test]
    fn what_a_trusted_proxy_leaves_out_or_says_twice_is_said_by_this_one() {
        let headers = told(&["10.0.0.0/8"], &[]);
        assert_eq!(headers[&FOR], "10.0.0.1");
        assert_eq!(headers[&PROTO], "http");
        let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "ftp")];
        let headers = told(&["10.0.0.0/8"], &twice);
        assert_eq!(headers.get_all(&PROTO).iter().count(), 1);
        assert_eq!(headers[&PROTO], "http");
    }
}
