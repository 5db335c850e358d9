//! Heads on their way through: what must not pass from one connection to the next, and which
//! requests are refused at sight. What the instance is told of the client is `forwarded`'s.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{Method, Version};

use crate::answer::Refusal;
use crate::forwarded::ClientHead;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Whether a second sending does no more than the first one did.
pub(crate) fn idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Makes a client's head an instance's. The answer: whether the client asks for an upgrade.
pub(crate) fn make_ready(parts: &mut Parts, client: &ClientHead) -> Result<bool, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let upgrade = wants_upgrade(&parts.headers).then(|| parts.headers.remove(header::UPGRADE));
    strip(&mut parts.headers);
    parts.headers.remove(header::EXPECT);

    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let host = host(parts, client)?;
    let headers = &mut parts.headers;
    client.tell(headers, host);

    if parts.uri.scheme().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    parts.version = Version::HTTP_11;
    let Some(Some(protocol)) = upgrade else {
        return Ok(false);
    };
    headers.insert(header::UPGRADE, protocol);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(true)
}

/// HTTP/2 may send the parts of a Cookie apart; HTTP/1.1 has one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let parts: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if parts.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&parts.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, whole);
    }
}

/// Makes a head that is ready for HTTP/1.1 one of HTTP/2: the host stands in the target, and
/// trailers are asked for, which gRPC ends with.
pub(crate) fn make_two(parts: &mut Parts) {
    let host = parts.headers.remove(header::HOST);
    let host = host.as_ref().and_then(|host| host.to_str().ok());
    let authority = host.filter(|host| !host.is_empty()).unwrap_or("localhost");
    let path = parts.uri.path_and_query().cloned();
    let uri = Uri::builder()
        .scheme(http::uri::Scheme::HTTP)
        .authority(authority)
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build();
    if let Ok(uri) = uri {
        parts.uri = uri;
    }
    parts.version = Version::HTTP_2;
    parts
        .headers
        .insert(header::TE, HeaderValue::from_static("trailers"));
}

/// Whether a request is of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The one host the request is for, written into its Host header.
fn host(parts: &mut Parts, client: &ClientHead) -> Result<HeaderValue, Refusal> {
    if let Some(authority) = parts.uri.authority() {
        // The request line's word counts, not the header's (RFC 9112, 3.2.2).
        let value = HeaderValue::try_from(authority.as_str())
            .ok()
            .filter(is_host)
            .ok_or(Refusal::BadHost)?;
        parts.headers.insert(header::HOST, value.clone());
        return Ok(value);
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(host.clone()),
        (None, _) if parts.version < Version::HTTP_11 => {
            parts.headers.insert(header::HOST, client.local.clone());
            Ok(client.local.clone())
        }
        _ => Err(Refusal::BadHost),
    }
}

/// Takes out what belongs to one connection only, and what `Connection` names.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let mut found = false;
    let mut named = false;
    for name in headers.keys() {
        match *name {
            header::CONNECTION => {
                found = true;
                named = true;
            }
            header::TRANSFER_ENCODING | header::UPGRADE | header::TE | header::TRAILER => {
                found = true;
            }
            // Not among the standard names, so by length first.
            _ if matches!(name.as_str().len(), 10 | 16) => {
                found |= *name == KEEP_ALIVE || *name == PROXY_CONNECTION;
            }
            _ => {}
        }
    }
    if !found {
        return;
    }
    if named {
        let list: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // These say what the message is; no client may have them taken out.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
            .collect();
        for name in list {
            headers.remove(name);
        }
    }
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        KEEP_ALIVE,
        PROXY_CONNECTION,
    ] {
        headers.remove(name);
    }
}

/// An upgrade to h2c is not passed on: behind it the instance would take requests that nobody
/// has looked at. Without it the request is served as it is (RFC 9110, 7.8).
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter().peekable();
    protocols.peek().is_some()
        && protocols.all(|value| !names_h2c(value.as_bytes()))
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
}

fn names_h2c(protocols: &[u8]) -> bool {
    let word = |it: &[u8]| it.trim_ascii().to_ascii_lowercase();
    protocols
        .split(|c| *c == b',')
        .any(|it| matches!(&*word(it), b"h2c" | b"h2" | b"http/2.0"))
}

/// Whether a Host can be one: neither blank, list, path nor user.
fn is_host(value: &HeaderValue) -> bool {
    let good = |c: &u8| c.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(c);
    value.as_bytes().iter().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientHead {
        let front = Default::default();
        ClientHead::new(
            [10, 0, 0, 1].into(),
            ([127, 0, 0, 1], 80).into(),
            false,
            &front,
        )
    }

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn headers_of_one_connection_do_not_pass() {
        let mut parts = parts(
            http::Request::get("/x?y=1")
                .header("host", "shop")
                .header("connection", "close, x-secret, host")
                .header("x-secret", "1")
                .header("keep-alive", "timeout=5")
                .header("te", "trailers")
                .header("upgrade", "h2c")
                .header("accept", "*/*"),
        );
        assert!(!make_ready(&mut parts, &client()).unwrap());
        let mut names: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let wanted = [
            "accept",
            "host",
            "traceparent",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn an_upgrade_passes_with_its_protocol() {
        let mut parts = parts(
            http::Request::get("/")
                .header("host", "shop")
                .header("connection", "keep-alive, Upgrade")
                .header("upgrade", "websocket"),
        );
        assert!(make_ready(&mut parts, &client()).unwrap());
        assert_eq!(parts.headers[header::UPGRADE], "websocket");
        assert_eq!(parts.headers[header::CONNECTION], "upgrade");
    }

    #[test]
    fn a_request_line_with_a_host_beats_the_header() {
        let mut parts = parts(http::Request::get("http://a:1/x?y").header("host", "b"));
        make_ready(&mut parts, &client()).unwrap();
        assert_eq!(parts.headers[header::HOST], "a:1");
        assert_eq!(parts.uri, "/x?y");
    }

    #[test]
    fn an_upgrade_to_h2c_is_not_passed_on() {
        for protocol in ["h2c", "websocket, H2C", "HTTP/2.0"] {
            let mut parts = parts(
                http::Request::get("/")
                    .header("host", "shop")
                    .header("connection", "Upgrade, HTTP2-Settings")
                    .header("http2-settings", "AAMAAABkAAQAAP__")
                    .header("upgrade", protocol),
            );
            assert!(!make_ready(&mut parts, &client()).unwrap(), "{protocol}");
            for name in ["upgrade", "connection", "http2-settings"] {
                assert!(!parts.headers.contains_key(name), "{protocol}: {name}");
            }
        }
    }

    #[test]
    fn a_host_that_can_be_none_is_refused() {
        for host in ["a b", "a,b", "a/b", "a@b", "a#b", "a?b", "a\\b", "ä"] {
            let value = HeaderValue::from_bytes(host.as_bytes()).unwrap();
            let request = http::Request::get("/").header("host", value);
            assert!(
                make_ready(&mut parts(request), &client()).is_err(),
                "{host}"
            );
        }
        for host in ["shop", "shop:80", "[::1]:80", "10.0.0.1", "a_b.c-d.", ""] {
            let request = http::Request::get("/").header("host", host);
            assert!(make_ready(&mut parts(request), &client()).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_request_for_no_host_or_for_two_is_refused() {
        let none = http::Request::get("/");
        let two = http::Request::get("/")
            .header("host", "a")
            .header("host", "b");
        for request in [none, two] {
            assert!(make_ready(&mut parts(request), &client()).is_err());
        }
        let old = http::Request::get("/").version(Version::HTTP_10);
        let mut old = parts(old);
        make_ready(&mut old, &client()).unwrap();
        assert_eq!(old.headers[header::HOST], "127.0.0.1:80");
    }
}
