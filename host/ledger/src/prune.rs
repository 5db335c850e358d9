//! Letting old entries go: always the oldest, in one piece, and never without a word. The chain
//! begins anew behind the anchor, and an entry in it says what went.

use std::collections::BTreeSet;

use grace_model::TimestampMs;
use grace_model::id::IncidentId;
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use crate::Result;
use crate::anchor::{self, PRUNED};
use crate::head::Head;
use crate::read::Queries;
use crate::schema;
use crate::tx::Tx;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Entries before this time may go, once their incidents are resolved and their runs over.
    pub before: TimestampMs,
    /// While the ledger uses more than this, the oldest entries go, whatever they belong to.
    pub max_bytes: u64,
    /// At most so many entries at once: it is one transaction, and everybody waits for it.
    pub most: u32,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// How many entries.
    pub entries: u64,
    /// The last of them.
    pub through: u64,
    /// Incidents of which nothing is left; their rows and runs are gone too.
    pub incidents: Vec<IncidentId>,
}

impl Tx<'_> {
    /// Lets the oldest entries go that need not be kept. None: there are none. When as many went
    /// as may go at once, there may be more.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn prune(&mut self, keep: &Retention, now: TimestampMs) -> Result<Option<Pruned>> {
        let too_large = self.with(used_bytes)? > keep.max_bytes;
        let old = self.with(|c| oldest(c, keep, too_large))?;
        let Some(last) = old.last else {
            return Ok(None);
        };
        let why = if too_large { "size" } else { "age" };
        let body = json!({ "through": last.seq, "hash": last.hash, "entries": old.entries,
                           "first_at": old.first_at, "last_at": old.last_at, "why": why });
        self.append(PRUNED, None, now, &body)?;
        let incidents = self.with(|c| {
            c.prepare_cached("DELETE FROM entries WHERE seq <= ?1")?
                .execute([last.seq])?;
            anchor::set_anchor(c, &last)?;
            schema::set_version(c)?;
            let mut gone = Vec::new();
            for id in old.incidents {
                if forget(c, &id)? {
                    gone.push(IncidentId(id));
                }
            }
            Ok(gone)
        })?;
        Ok(Some(Pruned {
            entries: old.entries,
            through: last.seq,
            incidents,
        }))
    }

    /// Drops everything put under keys that begin so.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn forget(&mut self, prefix: &str) -> Result<()> {
        self.with(|c| {
            c.prepare_cached("DELETE FROM memory WHERE substr(key, 1, length(?1)) = ?1")?
                .execute([prefix])?;
            Ok(())
        })
    }

    /// Drops what was put under keys that begin so, when it is a number below `floor`, or a list that
    /// begins with one.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn forget_below(&mut self, prefix: &str, floor: u64) -> Result<()> {
        self.with(|c| {
            c.prepare_cached(
                "DELETE FROM memory WHERE substr(key, 1, length(?1)) = ?1
                 AND CAST(ltrim(json, '[') AS INTEGER) < ?2",
            )?
            .execute((prefix, i64::try_from(floor).unwrap_or(i64::MAX)))?;
            Ok(())
        })
    }
}

/// What may go.
#[derive(Default)]
struct Old {
    last: Option<Head>,
    entries: u64,
    first_at: u64,
    last_at: u64,
    incidents: BTreeSet<String>,
}

fn oldest(c: &Connection, keep: &Retention, too_large: bool) -> Result<Old> {
    let mut old = Old::default();
    // The newest stays: without it nobody knows where the chain was.
    let newest: u64 = c.query_row("SELECT coalesce(max(seq), 0) FROM entries", [], |row| {
        row.get(0)
    })?;
    let mut statement = c.prepare_cached(
        "SELECT seq, at, incident, hash FROM entries WHERE seq < ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query((newest, keep.most))?;
    while let Some(row) = rows.next()? {
        let (at, incident): (u64, Option<String>) = (row.get(1)?, row.get(2)?);
        if !too_large
            && (at >= keep.before
                || match &incident {
                    Some(id) if !old.incidents.contains(id) => is_open(c, id)?,
                    _ => false,
                })
        {
            break;
        }
        if old.last.is_none() {
            old.first_at = at;
        }
        old.last = Some(Head {
            seq: row.get(0)?,
            hash: row.get(3)?,
        });
        old.last_at = at;
        old.entries += 1;
        old.incidents.extend(incident);
    }
    Ok(old)
}

fn is_open(c: &Connection, id: &str) -> Result<bool> {
    let state: Option<String> = c
        .prepare_cached("SELECT state FROM incidents WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let running: bool = c
        .prepare_cached("SELECT count(*) > 0 FROM runs WHERE finished = 0 AND incident = ?1")?
        .query_row([id], |row| row.get(0))?;
    Ok(running || state.is_some_and(|state| state != "resolved"))
}

/// Drops an incident that is over and of which no entry is left. Whether it did.
fn forget(c: &Connection, id: &str) -> Result<bool> {
    if is_open(c, id)? {
        return Ok(false);
    }
    let left: bool = c
        .prepare_cached("SELECT count(*) > 0 FROM entries WHERE incident = ?1")?
        .query_row([id], |row| row.get(0))?;
    if left {
        return Ok(false);
    }
    c.prepare_cached("DELETE FROM runs WHERE incident = ?1")?
        .execute([id])?;
    c.prepare_cached("DELETE FROM incidents WHERE id = ?1")?
        .execute([id])?;
    Ok(true)
}

/// What the ledger uses of its file: pages that are free are used again before it grows.
fn used_bytes(c: &Connection) -> Result<u64> {
    let pragma =
        |name: &str| c.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, u64>(0));
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?))
}
