//! Writing: everything in one transaction, which reaches the disk whole or not at all.

use grace_model::TimestampMs;
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::Incident;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::Result;
use crate::entry::{GENESIS, Row};
use crate::head::Head;
use crate::read::{Cursor, Queries};
use crate::schema::{COUNTERS, CURSORS, DETECTOR_STATE, HEAD, INCIDENTS, MEMORY, RUNS};
use crate::verify::noted_head;

/// What a transaction may do. It also answers every query, and sees its own writes.
pub struct Tx<'c> {
    connection: &'c Connection,
    before: Head,
    head: Head,
}

impl Queries for Tx<'_> {
    fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        query(self.connection)
    }
}

impl<'c> Tx<'c> {
    /// Inside a transaction that the caller began and will end.
    pub(crate) fn begin(connection: &'c Connection) -> Result<Self> {
        let head = noted_head(connection)?.unwrap_or_else(|| Head {
            seq: 0,
            hash: GENESIS.to_owned(),
        });
        Ok(Self {
            connection,
            before: head.clone(),
            head,
        })
    }

    /// Before the commit: notes the last entry. Answers with it when there are new ones.
    pub(crate) fn end(self) -> Result<Option<Head>> {
        if self.head == self.before {
            return Ok(None);
        }
        let values = vec![
            Value::Integer(1),
            integer(self.head.seq),
            Value::Text(self.head.hash.clone()),
        ];
        HEAD.put(self.connection, values)?;
        Ok(Some(self.head))
    }

    /// Adds an entry; answers with its number.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn append(
        &mut self,
        kind: &str,
        incident: Option<&IncidentId>,
        at: TimestampMs,
        body: &impl Serialize,
    ) -> Result<u64> {
        let mut row = Row {
            seq: self.head.seq + 1,
            at,
            kind: kind.to_owned(),
            incident: incident.map(|id| id.0.clone()),
            body: serde_json::to_string(body)?,
            prev: self.head.hash.clone(),
            hash: String::new(),
        };
        row.hash = row.computed_hash();
        self.insert(row)
    }

    /// The chain of a ledger that is still empty begins behind `anchor`.
    pub(crate) fn begin_behind(&mut self, anchor: &Head) -> Result<()> {
        crate::anchor::set_anchor(self.connection, anchor)?;
        crate::schema::set_version(self.connection)?;
        self.head = anchor.clone();
        Ok(())
    }

    /// Adds a row whose place in the chain is already known to be right.
    pub(crate) fn insert(&mut self, row: Row) -> Result<u64> {
        let sql = "INSERT INTO entries (seq, at, kind, incident, body, prev, hash)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute((
            row.seq,
            row.at,
            &row.kind,
            &row.incident,
            &row.body,
            &row.prev,
            &row.hash,
        ))?;
        self.head = Head {
            seq: row.seq,
            hash: row.hash,
        };
        Ok(row.seq)
    }

    /// Stores an incident, in place of an older state of it.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn put_incident(&mut self, incident: &Incident) -> Result<()> {
        let values = vec![
            Value::Text(incident.id.0.clone()),
            integer(number_in(incident.id.as_str())),
            Value::Text(incident.signature.clone()),
            Value::Text(incident.state.word().to_owned()),
            Value::Text(incident.target.clone()),
            Value::Text(serde_json::to_string(incident)?),
        ];
        Ok(INCIDENTS.put(self.connection, values)?)
    }

    /// Stores a run, in place of an older state of it.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn put_run(
        &mut self,
        id: &RunId,
        incident: &IncidentId,
        finished: bool,
        json: &impl Serialize,
    ) -> Result<()> {
        let values = vec![
            Value::Text(id.0.clone()),
            Value::Text(incident.0.clone()),
            Value::Integer(i64::from(finished)),
            Value::Text(serde_json::to_string(json)?),
        ];
        Ok(RUNS.put(self.connection, values)?)
    }

    /// Stores how far a journal was read.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn set_cursor(&mut self, journal: &str, cursor: Cursor) -> Result<()> {
        let values = vec![
            Value::Text(journal.to_owned()),
            integer(cursor.segment),
            integer(cursor.offset),
        ];
        Ok(CURSORS.put(self.connection, values)?)
    }

    /// Stores a detector's state.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn set_detector_state(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let values = vec![Value::Text(name.to_owned()), Value::Blob(bytes.to_vec())];
        Ok(DETECTOR_STATE.put(self.connection, values)?)
    }

    /// Stores something under a key.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn put(&mut self, key: &str, json: &impl Serialize) -> Result<()> {
        let values = vec![
            Value::Text(key.to_owned()),
            Value::Text(serde_json::to_string(json)?),
        ];
        Ok(MEMORY.put(self.connection, values)?)
    }

    /// The next number of a counter, from 1.
    ///
    /// # Errors
    /// [`crate::LedgerError`].
    pub fn next_number(&mut self, counter: &str) -> Result<u64> {
        let next = self.counter(counter)? + 1;
        self.set_counter(counter, next)?;
        Ok(next)
    }

    pub(crate) fn counter(&self, counter: &str) -> Result<u64> {
        let sql = "SELECT value FROM counters WHERE name = ?1";
        let value: Option<u64> = self
            .connection
            .prepare_cached(sql)?
            .query_row([counter], |row| row.get(0))
            .optional()?;
        Ok(value.unwrap_or(0))
    }

    pub(crate) fn set_counter(&mut self, counter: &str, value: u64) -> Result<()> {
        let values = vec![Value::Text(counter.to_owned()), integer(value)];
        Ok(COUNTERS.put(self.connection, values)?)
    }
}

/// The number at the end of `inc-12`; 0 when there is none.
pub(crate) fn number_in(id: &str) -> u64 {
    id.rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

/// SQLite's integers are signed. What does not fit is beyond anything counted here.
pub(crate) fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
