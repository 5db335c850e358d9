//! The newest bytes of an output, in memory and bounded. It has what a full disk kept out of
//! the files. Knows no files and no processes.

use std::collections::VecDeque;

/// The newest bytes of one output.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    most: usize,
    /// Bytes that came in and have made room for newer ones.
    dropped: u64,
}

impl Ring {
    /// One that holds at most this many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            most,
            dropped: 0,
        }
    }

    /// How many bytes it can hold.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Bytes that it does not hold any more.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds bytes; the oldest make room.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let skip = bytes.len().saturating_sub(self.most);
        let kept = bytes.get(skip..).unwrap_or_default();
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(self.most);
        self.bytes.drain(..surplus.min(self.bytes.len()));
        self.bytes.extend(kept);
        self.dropped = self.dropped.saturating_add((skip + surplus) as u64);
    }

    /// Counts bytes that went by without being seen.
    pub(crate) fn skip(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
        if count > 0 {
            // What is older does not belong before what comes next.
            self.dropped = self.dropped.saturating_add(self.bytes.len() as u64);
            self.bytes.clear();
        }
    }

    /// The newest whole lines in at most `most` bytes. When one line alone is longer, its end.
    pub(crate) fn tail(&self, most: usize) -> Vec<u8> {
        let from = self.bytes.len().saturating_sub(most);
        let mut tail: Vec<u8> = self.bytes.range(from..).copied().collect();
        let before = from.checked_sub(1).and_then(|at| self.bytes.get(at));
        let cut = match before {
            Some(byte) => *byte != b'\n',
            None => self.dropped > 0,
        };
        if cut
            && let Some(end) = tail.iter().position(|byte| *byte == b'\n')
            && end + 1 < tail.len()
        {
            tail.drain(..=end);
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(ring: &Ring, most: usize) -> String {
        String::from_utf8(ring.tail(most)).unwrap()
    }

    #[test]
    fn the_newest_whole_lines_are_given() {
        let mut ring = Ring::new(64);
        ring.push(b"one\ntwo\nthree\n");
        assert_eq!(text(&ring, 64), "one\ntwo\nthree\n");
        assert_eq!(text(&ring, 10), "two\nthree\n");
        assert_eq!(text(&ring, 9), "three\n");
        // One line that is longer than asked: its end.
        assert_eq!(text(&ring, 4), "ree\n");
        assert_eq!(ring.dropped(), 0);
        ring.skip(1_000);
        ring.push(b"half of a line\nnew\n");
        assert_eq!(text(&ring, 64), "new\n");
        assert_eq!(ring.dropped(), 1_014);
    }

    proptest! {
        #[test]
        fn it_holds_the_end_of_all_that_came_counts_the_rest_and_never_grows_beyond_its_bound(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            most in 0_usize..50,
        ) {
            let mut ring = Ring::new(most);
            let mut all = Vec::new();
            for piece in &pieces {
                ring.push(piece);
                all.extend_from_slice(piece);
                let held: Vec<u8> = ring.bytes.iter().copied().collect();
                prop_assert_eq!(&held, &all[all.len().saturating_sub(most)..]);
                prop_assert_eq!(ring.dropped() as usize + held.len(), all.len());
                prop_assert!(all.ends_with(&ring.tail(13)));
            }
        }
    }
}
