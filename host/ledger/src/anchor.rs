//! Two places in the chain that are noted beside it: the anchor, behind which entries were let
//! go, and the mark up to which everything was verified. Both are rows of `meta` with checksums.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::entry::GENESIS;
use crate::head::Head;
use crate::schema::META;

/// The kind of the entry that tells of entries that were let go. Its body has `through` and
/// `hash` of the last of them, `entries`, `first_at`, `last_at` and `why`.
pub const PRUNED: &str = "pruned";

const ANCHOR: &str = "anchor";
const MARK: &str = "verified";

/// The last entry that was let go; the beginning of all when none was. None: the note is damaged.
pub(crate) fn anchor(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    Ok(match noted(connection, ANCHOR)? {
        Note::None => Some(beginning()),
        Note::Place(head) => Some(head),
        Note::Damaged => None,
    })
}

pub(crate) fn beginning() -> Head {
    Head {
        seq: 0,
        hash: GENESIS.to_owned(),
    }
}

pub(crate) fn set_anchor(connection: &Connection, head: &Head) -> rusqlite::Result<()> {
    set(connection, ANCHOR, head)
}

/// Up to where everything was verified, when that was noted and can be read.
pub(crate) fn mark(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    Ok(match noted(connection, MARK)? {
        Note::Place(head) => Some(head),
        Note::None | Note::Damaged => None,
    })
}

pub(crate) fn set_mark(connection: &Connection, head: &Head) -> rusqlite::Result<()> {
    set(connection, MARK, head)
}

pub(crate) fn clear_mark(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("DELETE FROM meta WHERE name = ?1", [MARK])
        .map(drop)
}

enum Note {
    None,
    Place(Head),
    Damaged,
}

fn noted(connection: &Connection, wanted: &str) -> rusqlite::Result<Note> {
    let mut found = Note::None;
    META.rows(connection, |values, holds| {
        if let [Value::Text(name), Value::Text(value)] = values.as_slice()
            && name == wanted
        {
            found = match parse(value) {
                Some(head) if holds => Note::Place(head),
                _ => Note::Damaged,
            };
        }
        Ok(())
    })?;
    Ok(found)
}

fn set(connection: &Connection, name: &str, head: &Head) -> rusqlite::Result<()> {
    let value = format!("{} {}", head.seq, head.hash);
    META.put(
        connection,
        vec![Value::Text(name.to_owned()), Value::Text(value)],
    )
}

fn parse(text: &str) -> Option<Head> {
    let (seq, hash) = text.split_once(' ')?;
    Some(Head {
        seq: seq.parse().ok()?,
        hash: hash.to_owned(),
    })
}
