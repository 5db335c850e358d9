//! Heads as they are kept: one piece of memory each, taken apart when somebody wants to read it.

use std::hash::{DefaultHasher, Hash, Hasher};

use grace_capsule::Blob;
use http::HeaderMap;

/// Headers in their order, `name: value` and a line feed, which no value can hold.
pub(super) fn pack(headers: &HeaderMap) -> Vec<u8> {
    let size = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 3)
        .sum();
    let mut packed = Vec::with_capacity(size);
    for (name, value) in headers {
        packed.extend_from_slice(name.as_str().as_bytes());
        packed.extend_from_slice(b": ");
        packed.extend_from_slice(value.as_bytes());
        packed.push(b'\n');
    }
    packed
}

pub(super) fn unpack(packed: &[u8]) -> Vec<(String, Blob)> {
    packed
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.get(2..).unwrap_or_default();
            Some((
                String::from_utf8_lossy(name).into_owned(),
                Blob::from(value),
            ))
        })
        .collect()
}

/// The route of a request: its method and its path, in which words that look like ids are one.
pub(super) fn route(method: &str, path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    method.hash(&mut hasher);
    for word in path.split('/') {
        let is_id = word.len() > 24 || word.bytes().any(|byte| byte.is_ascii_digit());
        if is_id { "*" } else { word }.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_head_gives_its_headers_back_in_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("b", ""), ("a", "x: y"), ("c", "\u{e4}")] {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name, value);
        }
        let back = unpack(&pack(&headers));
        let wanted: Vec<(String, Blob)> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), Blob::from(value.as_bytes())))
            .collect();
        assert_eq!(back, wanted);
        assert_eq!(unpack(b""), []);
    }

    #[test]
    fn requests_that_differ_in_ids_are_of_one_route() {
        assert_eq!(
            route("GET", "/orders/17/items"),
            route("GET", "/orders/9a8/items")
        );
        assert_ne!(route("GET", "/orders/17"), route("POST", "/orders/17"));
        assert_ne!(route("GET", "/orders/new"), route("GET", "/orders/old"));
    }
}
