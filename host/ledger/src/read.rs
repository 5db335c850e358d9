//! Reading: what a ledger holds, for the process that writes it and for any other. Every
//! query is short; nothing here holds a lock between two calls.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use grace_model::id::{IncidentId, RunId};
use grace_model::incident::Incident;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entry::{Entry, Row};
use crate::{LedgerError, Result, head, verify};

/// How long a statement waits for somebody else's lock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How far a journal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// Number of the segment file.
    pub segment: u64,
    /// Byte in it.
    pub offset: u64,
}

/// A run of a playbook as it was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// For which incident.
    pub incident: IncidentId,
    /// Whether it is over.
    pub finished: bool,
    /// Its state.
    pub json: Value,
}

/// Reads a ledger without being able to change it, also while another process writes.
pub struct Reader {
    connection: Mutex<Connection>,
}

impl Reader {
    /// Opens an existing ledger for reading. Nothing is verified; see [`Queries::verify`].
    ///
    /// # Errors
    /// [`LedgerError`], for example that there is no such file.
    pub fn open(path: &Path) -> Result<Self> {
        if let Err(cause) = std::fs::metadata(path) {
            return Err(LedgerError::File {
                path: path.to_owned(),
                cause,
            });
        }
        Ok(Self {
            connection: Mutex::new(open_read_only(path)?),
        })
    }
}

impl Queries for Reader {
    fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        query(
            &self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// A connection that cannot write and leaves the log beside the file alone when it ends.
pub(crate) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(
        rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
        true,
    )?;
    Ok(connection)
}

/// What can be asked of a ledger.
pub trait Queries {
    /// Lends the connection to one query.
    ///
    /// # Errors
    /// What the query answers.
    #[doc(hidden)]
    fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T>;

    /// What was written about an incident, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn entries_of(&self, incident: &IncidentId) -> Result<Vec<Entry>> {
        self.with(|c| entries(c, "WHERE incident = ?1 ORDER BY seq", [incident.as_str()]))
    }

    /// At most `limit` entries behind number `seq`, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn entries_after(&self, seq: u64, limit: u32) -> Result<Vec<Entry>> {
        self.with(|c| entries(c, "WHERE seq > ?1 ORDER BY seq LIMIT ?2", (seq, limit)))
    }

    /// The newest entries of a kind, newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn latest_of_kind(&self, kind: &str, limit: u32) -> Result<Vec<Entry>> {
        self.with(|c| {
            entries(
                c,
                "WHERE kind = ?1 ORDER BY seq DESC LIMIT ?2",
                (kind, limit),
            )
        })
    }

    /// All incidents, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn incidents(&self) -> Result<Vec<Incident>> {
        self.with(|c| {
            let mut statement =
                c.prepare_cached("SELECT json FROM incidents ORDER BY number, id")?;
            let mut rows = statement.query([])?;
            let mut incidents = Vec::new();
            while let Some(row) = rows.next()? {
                incidents.push(stored_json(&row.get::<_, String>(0)?)?);
            }
            Ok(incidents)
        })
    }

    /// One incident.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn incident(&self, id: &IncidentId) -> Result<Option<Incident>> {
        self.with(|c| json_of(c, "SELECT json FROM incidents WHERE id = ?1", id.as_str()))
    }

    /// Runs that are not over, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn runs_unfinished(&self) -> Result<Vec<Run>> {
        self.with(|c| runs(c, "WHERE finished = 0 ORDER BY rowid", []))
    }

    /// All runs for an incident.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn runs_of(&self, incident: &IncidentId) -> Result<Vec<Run>> {
        self.with(|c| runs(c, "WHERE incident = ?1 ORDER BY rowid", [incident.as_str()]))
    }

    /// All runs.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn runs(&self) -> Result<Vec<Run>> {
        self.with(|c| runs(c, "ORDER BY rowid", []))
    }

    /// How far a journal was read. None: not at all.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn cursor(&self, journal: &str) -> Result<Option<Cursor>> {
        self.with(|c| {
            let mut statement =
                c.prepare_cached("SELECT segment, offset FROM cursors WHERE journal = ?1")?;
            let cursor = statement
                .query_row([journal], |row| {
                    Ok(Cursor {
                        segment: row.get(0)?,
                        offset: row.get(1)?,
                    })
                })
                .optional()?;
            Ok(cursor)
        })
    }

    /// What a detector gave to be kept. None: it was never called.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn detector_state(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.with(|c| {
            let mut statement =
                c.prepare_cached("SELECT bytes FROM detector_state WHERE name = ?1")?;
            Ok(statement.query_row([name], |row| row.get(0)).optional()?)
        })
    }

    /// What was put under a key.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn get(&self, key: &str) -> Result<Option<Value>> {
        self.with(|c| json_of(c, "SELECT json FROM memory WHERE key = ?1", key))
    }

    /// Number of the last entry; those that were let go are counted.
    ///
    /// # Errors
    /// [`LedgerError`].
    fn count(&self) -> Result<u64> {
        self.with(|c| {
            Ok(
                c.query_row("SELECT coalesce(max(seq), 0) FROM entries", [], |row| {
                    row.get(0)
                })?,
            )
        })
    }

    /// Recomputes every hash and checksum. Answers with the number of the last entry.
    ///
    /// # Errors
    /// [`LedgerError::Broken`] with the first entry that cannot be trusted.
    fn verify(&self) -> Result<u64> {
        self.with(|c| {
            // Read before the snapshot is taken: a writer may go on meanwhile.
            let claim = c
                .path()
                .and_then(|path| head::claim(&head::path_of(Path::new(path))));
            verify::check(c, claim.as_ref(), None)
        })
    }
}

/// Rows of `entries`, read one by one so that a caller can go on past a bad one.
pub(crate) const ENTRY: &str = "SELECT seq, at, kind, incident, body, prev, hash FROM entries";

pub(crate) fn entry_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: row.get(0)?,
        at: row.get(1)?,
        kind: row.get(2)?,
        incident: row.get(3)?,
        body: row.get(4)?,
        prev: row.get(5)?,
        hash: row.get(6)?,
    })
}

fn entries(c: &Connection, rest: &str, params: impl Params) -> Result<Vec<Entry>> {
    let mut statement = c.prepare_cached(&format!("{ENTRY} {rest}"))?;
    let mut rows = statement.query(params)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let row = entry_row(row)?;
        let seq = row.seq;
        entries.push(
            row.into_entry()
                .map_err(|error| LedgerError::Damaged(format!("entry {seq}: {error}")))?,
        );
    }
    Ok(entries)
}

fn runs(c: &Connection, rest: &str, params: impl Params) -> Result<Vec<Run>> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT id, incident, finished, json FROM runs {rest}"
    ))?;
    let mut rows = statement.query(params)?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(Run {
            id: RunId(row.get(0)?),
            incident: IncidentId(row.get(1)?),
            finished: row.get(2)?,
            json: stored_json(&row.get::<_, String>(3)?)?,
        });
    }
    Ok(runs)
}

fn json_of<T: serde::de::DeserializeOwned>(
    c: &Connection,
    sql: &str,
    key: &str,
) -> Result<Option<T>> {
    let text: Option<String> = c
        .prepare_cached(sql)?
        .query_row([key], |row| row.get(0))
        .optional()?;
    text.map(|text| stored_json(&text)).transpose()
}

fn stored_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| LedgerError::Damaged(format!("a stored value is unreadable: {error}")))
}
