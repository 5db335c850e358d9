//! A capsule as a file: 8 bytes of magic, the version, the lengths of the content and of its
//! packed form, its address, and the content as zstd. Nothing is believed before it was checked; a reader of an older
//! version refuses a newer file by name.

use std::fmt;
use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::capsule::Capsule;

const MAGIC: &[u8; 8] = b"GRACECAP";

/// The version that is written, and the newest that is read.
pub const VERSION: u16 = 1;

/// Longest content that is read: what a capsule may hold at most, with room. A file that claims
/// more, or unpacks to more, is refused before memory is taken for it.
const CONTENT_MAX: u64 = 256 << 20;
/// Magic, version, two spare bytes, both lengths, address.
const HEAD: usize = 8 + 2 + 2 + 8 + 8 + 32;

/// The address of a capsule: its content's BLAKE3. Two capsules with the same are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 32]);

impl Id {
    /// As a name: `cap-` and 16 digits of the hash, which no two capsules of a machine share.
    #[must_use]
    pub fn name(&self) -> String {
        let hex: String = self
            .0
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("cap-{hex}")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Why bytes are no capsule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Something else.
    #[error(
        "it is no capsule: it does not begin with GRACECAP; name a file of `grace capsule export`"
    )]
    Foreign,
    /// It ends too early.
    #[error("it is truncated: {have} of {want} bytes of its {part} are there; copy it again")]
    Truncated {
        /// Which part ends too early.
        part: &'static str,
        /// Bytes that are there.
        have: u64,
        /// Bytes that should be.
        want: u64,
    },
    /// Its version is later than ours.
    #[error("it has version {found}, and this Grace reads up to {VERSION}; use a newer Grace")]
    Newer {
        /// Its version.
        found: u16,
    },
    /// It does not say what it did when it was made.
    #[error("it is corrupted: {what}; copy it again from where it was made")]
    Corrupted {
        /// What is wrong.
        what: String,
    },
    /// It is whole and means nothing to us.
    #[error("its content is no capsule of version {VERSION}: {what}")]
    Meaningless {
        /// What is wrong.
        what: String,
    },
    /// It is larger than any capsule may be.
    #[error("it holds {bytes} bytes, and a capsule has at most {CONTENT_MAX}")]
    TooLarge {
        /// How much it claims.
        bytes: u64,
    },
}

/// BLAKE3, hex: of a program, of a configuration.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The address of a capsule, and its file's bytes.
///
/// # Errors
/// [`FormatError::TooLarge`].
pub fn encode(capsule: &Capsule) -> Result<(Id, Vec<u8>), FormatError> {
    let meaningless = |what: String| FormatError::Meaningless { what };
    let content = serde_json::to_vec(capsule).map_err(|error| meaningless(error.to_string()))?;
    if content.len() as u64 > CONTENT_MAX {
        return Err(FormatError::TooLarge {
            bytes: content.len() as u64,
        });
    }
    let id = Id(*blake3::hash(&content).as_bytes());
    let packed = compress_to_vec(content.as_slice(), CompressionLevel::Fastest);
    let mut file = Vec::with_capacity(HEAD + packed.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&[0, 0]);
    file.extend_from_slice(&(content.len() as u64).to_le_bytes());
    file.extend_from_slice(&(packed.len() as u64).to_le_bytes());
    file.extend_from_slice(&id.0);
    file.extend_from_slice(&packed);
    Ok((id, file))
}

/// The capsule in a file, and its address.
///
/// # Errors
/// [`FormatError`], for each way in which it may be none.
pub fn decode(file: &[u8]) -> Result<(Id, Capsule), FormatError> {
    let short = |want: usize| FormatError::Truncated {
        part: "head",
        have: file.len() as u64,
        want: want as u64,
    };
    let begins = file.iter().zip(MAGIC).all(|(have, want)| have == want);
    if !begins || file.is_empty() {
        return Err(FormatError::Foreign);
    }
    let mut at = Cursor { rest: file };
    at.take::<8>().ok_or_else(|| short(HEAD))?;
    let version = u16::from_le_bytes(at.take().ok_or_else(|| short(HEAD))?);
    // Before anything else is believed: a later version may look different from here on.
    if version > VERSION {
        return Err(FormatError::Newer { found: version });
    }
    let spare: [u8; 2] = at.take().ok_or_else(|| short(HEAD))?;
    let length = u64::from_le_bytes(at.take().ok_or_else(|| short(HEAD))?);
    let packed = u64::from_le_bytes(at.take().ok_or_else(|| short(HEAD))?);
    let hash: [u8; 32] = at.take().ok_or_else(|| short(HEAD))?;
    if version == 0 || spare != [0, 0] {
        return Err(FormatError::Corrupted {
            what: format!("its head says version {version} and {spare:?}"),
        });
    }
    if length > CONTENT_MAX {
        return Err(FormatError::TooLarge { bytes: length });
    }
    let have = at.rest.len() as u64;
    if have < packed {
        return Err(FormatError::Truncated {
            part: "content",
            have,
            want: packed,
        });
    }
    if have > packed {
        return Err(FormatError::Corrupted {
            what: format!("{} bytes follow its end", have - packed),
        });
    }
    let content = unpack(at.rest, length)?;
    let id = Id(*blake3::hash(&content).as_bytes());
    if id.0 != hash {
        return Err(FormatError::Corrupted {
            what: format!("its content hashes to {id}, and its head says {}", Id(hash)),
        });
    }
    let capsule = serde_json::from_slice(&content).map_err(|error| FormatError::Meaningless {
        what: error.to_string(),
    })?;
    Ok((id, capsule))
}

fn unpack(packed: &[u8], length: u64) -> Result<Vec<u8>, FormatError> {
    let corrupted = |what: String| FormatError::Corrupted { what };
    let decoder = StreamingDecoder::new(packed).map_err(|error| corrupted(error.to_string()))?;
    let mut content = Vec::new();
    // One byte more than it claims shows that it holds more.
    decoder
        .take(length + 1)
        .read_to_end(&mut content)
        .map_err(|error| corrupted(error.to_string()))?;
    let have = content.len() as u64;
    if have != length {
        return Err(corrupted(format!(
            "it unpacks to {have} bytes, and its head says {length}"
        )));
    }
    Ok(content)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }
}
