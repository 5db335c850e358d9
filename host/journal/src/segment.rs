//! Segments: their names, their headers, which exist. Knows no events.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A place in a journal: the next byte to be read.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Cursor {
    /// The segment's number, from 1; 0 is the beginning, wherever that is.
    pub segment: u64,
    /// The offset in its file.
    pub offset: u64,
}

impl Cursor {
    /// Before everything.
    pub const START: Self = Self {
        segment: 0,
        offset: 0,
    };
}

/// Bytes of a header.
pub(crate) const HEADER: u64 = HEADER_BYTES as u64;
const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"GRACEJ1\n";
const BOOT_BYTES: usize = 36;

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The boot in which it was begun. Only a lost boot can take back what was read, so a
    /// writer of another boot never continues it.
    pub(crate) boot: String,
    /// Frames in all segments before it.
    pub(crate) first: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let sequence = self.first.to_le_bytes();
        let boot = self
            .boot
            .bytes()
            .chain(std::iter::repeat(0))
            .take(BOOT_BYTES);
        let parts = MAGIC.iter().copied().chain(boot).chain(sequence);
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        if let Some((head, rest)) = bytes.split_at_mut_checked(52)
            && let Some(to) = rest.first_chunk_mut::<4>()
        {
            *to = crc32fast::hash(head).to_le_bytes();
        }
        bytes
    }

    /// None: no header, or one of another version, or a damaged one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let (head, rest) = bytes.split_at_checked(52)?;
        let sum = u32::from_le_bytes(*rest.first_chunk::<4>()?);
        if crc32fast::hash(head) != sum {
            return None;
        }
        let (boot, first) = head.strip_prefix(MAGIC)?.split_at_checked(BOOT_BYTES)?;
        Some(Self {
            boot: String::from_utf8_lossy(boot)
                .trim_end_matches('\0')
                .to_owned(),
            first: u64::from_le_bytes(*first.first_chunk::<8>()?),
        })
    }
}

/// The file of a segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.journal"))
}

/// Numbers and sizes of the segments in `dir`, oldest first; none when there is no directory.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<(u64, u64)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".journal")?.parse().ok());
        let Some(number) = number else { continue };
        match entry.metadata() {
            Ok(meta) => found.push((number, meta.len())),
            // Dropped by the writer meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// This boot; empty where the kernel does not tell.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_a_damaged_one_is_none() {
        let header = Header {
            boot: boot(),
            first: 12_345,
        };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        assert_eq!(Header::decode(&bytes[..63]), None);
        bytes[20] ^= 1;
        assert_eq!(Header::decode(&bytes), None);
    }
}
