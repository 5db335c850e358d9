//! What a file of Grace says of itself, so that it can be read without being run. It knows
//! nothing of what is done with it.

use std::io::{self, Read};

/// How every mark begins.
const BEGIN: &[u8] = b"\x7fgrace-program:";

/// This program's own, as it stands in its file.
const OWN: &str = concat!(
    "\x7fgrace-program:state=2;version=",
    env!("CARGO_PKG_VERSION"),
    ";"
);

/// Longest mark: two short words.
const LONGEST: usize = 128;

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The layout of state directories that it writes.
    pub state: u32,
    /// Its version.
    pub version: String,
}

impl Mark {
    /// This program's.
    pub fn own() -> Option<Self> {
        Self::parse(std::hint::black_box(OWN).as_bytes())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(BEGIN)?;
        let rest =
            std::str::from_utf8(rest.get(..rest.len().min(LONGEST))?).unwrap_or_else(|error| {
                let good = rest.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(good).unwrap_or_default()
            });
        let (state, rest) = rest.strip_prefix("state=")?.split_once(';')?;
        let (version, _) = rest.strip_prefix("version=")?.split_once(';')?;
        Some(Self {
            state: state.parse().ok()?,
            version: version.to_owned(),
        })
    }

    /// The first mark in a file that can be run. None: it is not one of Grace.
    pub fn find(mut file: impl Read) -> io::Result<Option<Self>> {
        let mut head = [0_u8; 4];
        if file.read_exact(&mut head).is_err() || head != *b"\x7fELF" {
            return Ok(None);
        }
        let mut held = Vec::new();
        let mut piece = vec![0_u8; 1 << 20];
        loop {
            let count = file.read(&mut piece)?;
            let end = count == 0;
            held.extend_from_slice(piece.get(..count).unwrap_or_default());
            let mut at = 0;
            while let Some(next) = position(held.get(at..).unwrap_or_default()) {
                let begin = at + next;
                // One at the very end of what was read may go on.
                if held.len() - begin < LONGEST && !end {
                    break;
                }
                if let Some(mark) = held.get(begin..).and_then(Self::parse) {
                    return Ok(Some(mark));
                }
                at = begin + 1;
            }
            if end {
                return Ok(None);
            }
            let keep = held.len().saturating_sub(LONGEST + BEGIN.len());
            held.drain(..keep);
        }
    }
}

/// Where a mark may begin.
fn position(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(rest) = bytes.get(from..) {
        let next = rest.iter().position(|byte| *byte == 0x7f)?;
        if rest.get(next..)?.starts_with(BEGIN) {
            return Some(from + next);
        }
        from += next + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use grace_model::layout::STATE_VERSION;

    #[test]
    fn the_mark_of_this_program_says_what_it_is() {
        let own = Mark::own().unwrap();
        assert_eq!(own.state, STATE_VERSION);
        assert_eq!(own.version, env!("CARGO_PKG_VERSION"));
        // It stands in the file that runs.
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(Mark::find(file).unwrap(), Some(own));
    }

    #[test]
    fn a_mark_is_found_across_pieces_and_only_in_programs() {
        let mut file = b"\x7fELF".to_vec();
        file.resize((1 << 20) - 9, 0x7f);
        file.extend_from_slice(OWN.as_bytes());
        assert_eq!(Mark::find(file.as_slice()).unwrap(), Mark::own());
        file[1] = b'F';
        assert_eq!(Mark::find(file.as_slice()).unwrap(), None);
        // The beginning alone is in every program that looks for it.
        let mut file = b"\x7fELF".to_vec();
        file.extend_from_slice(BEGIN);
        assert_eq!(Mark::find(file.as_slice()).unwrap(), None);
        assert_eq!(Mark::find(b"#!/bin/sh\n".as_slice()).unwrap(), None);
    }
}
