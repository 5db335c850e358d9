//! An entry and its place in the chain. Hashing only: no database here.

use grace_model::TimestampMs;
use grace_model::id::IncidentId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kind of the entry that a new ledger writes about the damaged one before it.
pub const LEDGER_DAMAGED: &str = "ledger-damaged";

/// The kind of an entry taken over from behind the damage: its own hash holds, its place in
/// the chain could not be proven. The body has the original `seq`, `kind`, `hash` and `body`.
pub const SALVAGED: &str = "salvaged";

/// The `prev` of the first entry.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: TimestampMs,
    /// What: `finding`, `step-started`, ...
    pub kind: String,
    /// About which incident.
    pub incident: Option<IncidentId>,
    /// The rest.
    pub body: Value,
    /// The hash of the entry before, hex.
    pub prev: String,
    /// BLAKE3 over all of the above, hex.
    pub hash: String,
}

/// A row as it is stored: the body still the text that was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub seq: u64,
    pub at: u64,
    pub kind: String,
    pub incident: Option<String>,
    pub body: String,
    pub prev: String,
    pub hash: String,
}

impl Row {
    /// The hash that this row should have. Every part carries its length, so that no two
    /// different rows give the same bytes.
    pub fn computed_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"grace-ledger-entry-1");
        hasher.update(&self.seq.to_le_bytes());
        hasher.update(&self.at.to_le_bytes());
        part(&mut hasher, self.kind.as_bytes());
        match &self.incident {
            None => hasher.update(&[0]),
            Some(incident) => {
                hasher.update(&[1]);
                part(&mut hasher, incident.as_bytes())
            }
        };
        part(&mut hasher, self.body.as_bytes());
        part(&mut hasher, self.prev.as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// The entry, or why its body is no JSON.
    pub fn into_entry(self) -> Result<Entry, serde_json::Error> {
        Ok(Entry {
            seq: self.seq,
            at: self.at,
            kind: self.kind,
            incident: self.incident.map(IncidentId),
            body: serde_json::from_str(&self.body)?,
            prev: self.prev,
            hash: self.hash,
        })
    }
}

/// The checksum of a row of another table.
pub(crate) fn row_sum(table: &str, parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"grace-ledger-row-1");
    part(&mut hasher, table.as_bytes());
    for bytes in parts {
        part(&mut hasher, bytes);
    }
    hasher.finalize().to_hex().to_string()
}

fn part<'h>(hasher: &'h mut blake3::Hasher, bytes: &[u8]) -> &'h mut blake3::Hasher {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    hasher.update(&length.to_le_bytes());
    hasher.update(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            seq: 1,
            at: 2,
            kind: "ab".into(),
            incident: None,
            body: "{}".into(),
            prev: GENESIS.into(),
            hash: String::new(),
        }
    }

    #[test]
    fn every_part_of_a_row_changes_its_hash() {
        let hash = row().computed_hash();
        let others = [
            Row { seq: 2, ..row() },
            Row { at: 3, ..row() },
            Row {
                kind: "a".into(),
                body: "b{}".into(),
                ..row()
            },
            Row {
                incident: Some(String::new()),
                ..row()
            },
            Row {
                body: "{} ".into(),
                ..row()
            },
            Row {
                prev: String::new(),
                ..row()
            },
        ];
        for other in others {
            assert_ne!(other.computed_hash(), hash, "{other:?}");
        }
    }
}
