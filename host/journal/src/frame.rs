//! One frame: length, checksum, payload. Knows bytes, not files.

/// The longest payload. A length beyond it is damage.
pub const LONGEST_PAYLOAD: usize = 1024 * 1024;

/// Length and checksum, little-endian.
pub(crate) const HEAD: usize = 8;

/// What is at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole frame of `size` bytes with its head.
    Whole { payload: &'a [u8], size: usize },
    /// The bytes end inside the frame.
    Incomplete,
    /// No frame begins here.
    Bad,
}

/// Appends a frame to `out`; the payload must be no longer than [`LONGEST_PAYLOAD`].
pub(crate) fn encode(payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&length, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Looks at the start of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Frame<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Frame::Incomplete;
    };
    let size = u32::from_le_bytes(*length) as usize;
    if size == 0 || size > LONGEST_PAYLOAD {
        return Frame::Bad;
    }
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
        return Frame::Incomplete;
    };
    let Some(payload) = rest.get(..size) else {
        return Frame::Incomplete;
    };
    if checksum(length, payload) == u32::from_le_bytes(*sum) {
        Frame::Whole {
            payload,
            size: HEAD.saturating_add(size),
        }
    } else {
        Frame::Bad
    }
}

/// The length of the frame whose head is at the start of `bytes`, if the head is there.
pub(crate) fn promised_size(bytes: &[u8]) -> Option<usize> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    let size = u32::from_le_bytes(*length) as usize;
    (size <= LONGEST_PAYLOAD).then(|| HEAD.saturating_add(size))
}

/// The first offset after the start at which a whole frame begins: the way on after damage.
pub(crate) fn next_whole(bytes: &[u8]) -> Option<usize> {
    (1..bytes.len()).find(|offset| {
        let rest = bytes.get(*offset..).unwrap_or_default();
        // Every payload is a JSON object; asking that first saves a checksum an offset.
        rest.get(HEAD) == Some(&b'{') && matches!(decode(rest), Frame::Whole { .. })
    })
}

/// The length is part of it, so that a flipped length is damage too.
fn checksum(length: &[u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(payload, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_frame_that_ends_early_is_incomplete_and_one_with_a_flipped_bit_is_never_whole(
            payload in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let bytes = frame(&payload);
            let whole = Frame::Whole { payload: &payload, size: bytes.len() };
            prop_assert_eq!(decode(&bytes), whole);
            let cut = at.index(bytes.len());
            prop_assert_eq!(decode(&bytes[..cut]), Frame::Incomplete);
            let mut damaged = bytes.clone();
            damaged[cut] ^= 1 << bit;
            let is_whole = matches!(decode(&damaged), Frame::Whole { .. });
            prop_assert!(!is_whole);
        }
    }

    #[test]
    fn the_next_whole_frame_after_damage_is_found() {
        let mut bytes = frame(b"{\"a\":1}");
        let second = bytes.len();
        bytes.extend(frame(b"{\"b\":2}"));
        bytes[10] ^= 1;
        assert_eq!(decode(&bytes), Frame::Bad);
        assert_eq!(next_whole(&bytes), Some(second));
        assert_eq!(next_whole(&bytes[second..]), None);
    }
}
