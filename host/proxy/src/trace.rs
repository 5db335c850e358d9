//! The trace context of a request on its way through, by W3C Trace Context (the recommendation of
//! 23 November 2021): a valid `traceparent` goes on with its trace and a parent id of this hop,
//! any other is replaced by a new one. `tracestate` means nothing without a valid `traceparent`
//! and goes with it. It records nothing and knows no collector.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` trace id `-` parent id `-` flags.
const LENGTH: usize = 55;
const TRACE: std::ops::Range<usize> = 3..35;
const PARENT: std::ops::Range<usize> = 36..52;
/// What is passed on of the flags: sampled, and that the trace id is random (level 2).
const KNOWN_FLAGS: u8 = 0x03;

/// Makes a request's trace context that of the next hop.
pub(crate) fn hop(headers: &mut HeaderMap, mut random: impl FnMut() -> u64) {
    let mut line = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let known = only.and_then(|value| read(value.as_bytes()));
    match known {
        Some((trace, flags)) => {
            put(&mut line, TRACE, trace);
            put(&mut line, 53..55, &hex::<2>(u64::from(flags & KNOWN_FLAGS)));
        }
        None => {
            put(&mut line, 3..19, &hex::<16>(random().max(1)));
            put(&mut line, 19..35, &hex::<16>(random()));
            headers.remove(&TRACESTATE);
        }
    }
    put(&mut line, PARENT, &hex::<16>(random().max(1)));
    if let Ok(value) = HeaderValue::from_bytes(&line) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The trace id and the flags of a valid `traceparent`.
fn read(value: &[u8]) -> Option<(&[u8], u8)> {
    let (whole, rest) = value.split_at_checked(LENGTH)?;
    let version = number(whole.get(..2)?)?;
    // Later versions may say more behind what is known of them.
    let ends = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
    let dashes = [2, 35, 52].iter().all(|at| whole.get(*at) == Some(&b'-'));
    if version == 0xff || !ends || !dashes {
        return None;
    }
    let id = |range: std::ops::Range<usize>| {
        let id = whole.get(range)?;
        (id.iter().all(is_hex) && id.iter().any(|c| *c != b'0')).then_some(id)
    };
    id(PARENT)?;
    Some((id(TRACE)?, number(whole.get(53..55)?)?))
}

fn number(two: &[u8]) -> Option<u8> {
    if !two.iter().all(is_hex) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()
}

/// Lower case only.
fn is_hex(c: &u8) -> bool {
    c.is_ascii_digit() || (b'a'..=b'f').contains(c)
}

fn put(line: &mut [u8], at: std::ops::Range<usize>, text: &[u8]) {
    if let Some(place) = line.get_mut(at)
        && place.len() == text.len()
    {
        place.copy_from_slice(text);
    }
}

/// The lowest digits of a number, in lower case.
fn hex<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        let digit = (number & 0xf) as u8;
        *place = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
        number >>= 4;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn through(values: &[&str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        headers.insert(TRACESTATE, "vendor=1".parse().unwrap());
        let mut next = 0x0123_4567_89ab_cdef_u64;
        hop(&mut headers, || {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            next
        });
        assert_eq!(headers.get_all(&TRACEPARENT).iter().count(), 1);
        let line = headers[&TRACEPARENT].to_str().unwrap().to_owned();
        assert!(
            read(line.as_bytes()).is_some(),
            "what goes on is valid: {line}"
        );
        (line, headers.contains_key(&TRACESTATE))
    }

    #[test]
    fn a_valid_trace_goes_on_with_a_parent_id_of_its_own_and_keeps_its_state() {
        let (line, state) = through(&[GOOD]);
        assert_eq!(line[TRACE], GOOD[TRACE]);
        assert_ne!(line[PARENT], GOOD[PARENT]);
        assert_eq!(&line[53..], "01");
        assert!(state);
        // Flags that nobody knows are not passed on; a later version comes out as this one.
        let (line, _) = through(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe-more"]);
        assert_eq!((&line[..3], &line[53..]), ("00-", "02"));
        assert_eq!(line[TRACE], GOOD[TRACE]);
    }

    #[test]
    fn a_trace_that_is_absent_or_invalid_is_made_anew_and_its_state_is_dropped() {
        let none: &[&str] = &[];
        let twice: &[&str] = &[GOOD, GOOD];
        let bad = [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        ];
        let bad: Vec<[&str; 1]> = bad.iter().map(|it| [*it]).collect();
        let cases = bad.iter().map(|it| &it[..]).chain([none, twice]);
        for values in cases {
            let (line, state) = through(values);
            assert_ne!(line[TRACE], GOOD[TRACE], "{values:?}");
            assert!(!state, "{values:?}");
            assert_eq!(&line[53..], "00", "{values:?}");
        }
    }

    #[test]
    fn no_id_is_zero_whatever_the_random_numbers_are() {
        let mut headers = HeaderMap::new();
        hop(&mut headers, || 0);
        assert!(read(headers[&TRACEPARENT].as_bytes()).is_some());
    }
}
