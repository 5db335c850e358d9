//! The tables and views, and whether a file has them unchanged. `sqlite3 ledger.db .schema`
//! shows the same text to people, comments included.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::entry::row_sum;

/// Version of the schema below. 1 has no anchor: its chain begins at the beginning.
pub(crate) const VERSION: u32 = 2;
/// What a ledger is as long as nothing was let go, so that an earlier Grace can open it.
const WHOLE: u32 = 1;

/// A table whose rows carry a checksum of their own in the column `sum`.
pub(crate) struct StateTable {
    pub name: &'static str,
    /// Every column but `sum`, in order. The first is the key.
    pub columns: &'static [&'static str],
}

pub(crate) const HEAD: StateTable = StateTable {
    name: "head",
    columns: &["one", "seq", "hash"],
};
pub(crate) const META: StateTable = StateTable {
    name: "meta",
    columns: &["name", "value"],
};
pub(crate) const INCIDENTS: StateTable = StateTable {
    name: "incidents",
    columns: &["id", "number", "signature", "state", "target", "json"],
};
pub(crate) const RUNS: StateTable = StateTable {
    name: "runs",
    columns: &["id", "incident", "finished", "json"],
};
pub(crate) const CURSORS: StateTable = StateTable {
    name: "cursors",
    columns: &["journal", "segment", "offset"],
};
pub(crate) const DETECTOR_STATE: StateTable = StateTable {
    name: "detector_state",
    columns: &["name", "bytes"],
};
pub(crate) const MEMORY: StateTable = StateTable {
    name: "memory",
    columns: &["key", "json"],
};
pub(crate) const COUNTERS: StateTable = StateTable {
    name: "counters",
    columns: &["name", "value"],
};

/// The tables that are taken over as they are when a ledger is rebuilt.
pub(crate) const CARRIED: [&StateTable; 6] = [
    &INCIDENTS,
    &RUNS,
    &CURSORS,
    &DETECTOR_STATE,
    &MEMORY,
    &COUNTERS,
];

impl StateTable {
    /// Writes a row with its checksum, in place of one with the same key.
    pub fn put(&self, connection: &Connection, values: Vec<Value>) -> rusqlite::Result<()> {
        let sum = self.sum(&values);
        let marks = vec!["?"; values.len() + 1].join(", ");
        let key = self.columns.first().copied().unwrap_or_default();
        let set: Vec<String> = self
            .columns
            .iter()
            .skip(1)
            .chain(&["sum"])
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        // Not REPLACE: that gives a new rowid, by which runs are ordered.
        let sql = format!(
            "INSERT INTO {} VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {}",
            self.name,
            set.join(", "),
        );
        let mut all = values;
        all.push(Value::Text(sum));
        connection
            .prepare_cached(&sql)?
            .execute(params_from_iter(all))
            .map(drop)
    }

    /// Calls `each` with every row and whether its checksum holds.
    pub fn rows(
        &self,
        connection: &Connection,
        mut each: impl FnMut(Vec<Value>, bool) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let sql = format!("SELECT {}, sum FROM {}", self.columns.join(", "), self.name);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..self.columns.len())
                .map(|place| row.get::<_, Value>(place))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let sum: String = row.get(self.columns.len())?;
            let holds = sum == self.sum(&values);
            each(values, holds)?;
        }
        Ok(())
    }

    fn sum(&self, values: &[Value]) -> String {
        let parts: Vec<Vec<u8>> = values
            .iter()
            .map(|value| match value {
                Value::Null => b"n".to_vec(),
                Value::Integer(number) => [b"i".as_slice(), &number.to_le_bytes()].concat(),
                Value::Real(number) => [b"r".as_slice(), &number.to_le_bytes()].concat(),
                Value::Text(text) => [b"t", text.as_bytes()].concat(),
                Value::Blob(bytes) => [b"b", bytes.as_slice()].concat(),
            })
            .collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        row_sum(self.name, &parts)
    }
}

const DDL: &str = "
CREATE TABLE entries ( -- the record; hash = BLAKE3 over all other columns, prev = hash of seq - 1
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, incident TEXT,
  body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX entries_of_incident ON entries (incident, seq);
CREATE TABLE head ( -- the last entry, so that a lost end is noticed
  one INTEGER PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL, sum TEXT NOT NULL
) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, sum TEXT NOT NULL) STRICT;
CREATE TABLE incidents ( -- number orders them by age
  id TEXT PRIMARY KEY, number INTEGER NOT NULL, signature TEXT NOT NULL, state TEXT NOT NULL,
  target TEXT NOT NULL, json TEXT NOT NULL, sum TEXT NOT NULL
) STRICT;
CREATE TABLE runs ( -- runs of playbooks
  id TEXT PRIMARY KEY, incident TEXT NOT NULL, finished INTEGER NOT NULL, json TEXT NOT NULL,
  sum TEXT NOT NULL
) STRICT;
CREATE INDEX runs_unfinished ON runs (id) WHERE finished = 0;
CREATE TABLE cursors ( -- how far each journal was read
  journal TEXT PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, sum TEXT NOT NULL
) STRICT;
CREATE TABLE detector_state (name TEXT PRIMARY KEY, bytes BLOB NOT NULL, sum TEXT NOT NULL) STRICT;
CREATE TABLE memory (key TEXT PRIMARY KEY, json TEXT NOT NULL, sum TEXT NOT NULL) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, sum TEXT NOT NULL) STRICT;
CREATE VIEW record AS -- every decision with its time in UTC, oldest first
  SELECT seq, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch') AS time, kind, incident, body
  FROM entries ORDER BY seq;
CREATE VIEW incident_list AS -- incidents with their times in UTC, oldest first
  SELECT id, state, json_extract(json, '$.finding.kind') AS finding, target, signature,
    json_extract(json, '$.playbook') AS playbook,
    strftime('%Y-%m-%d %H:%M:%f', json_extract(json, '$.opened_at') / 1000.0, 'unixepoch') AS opened,
    strftime('%Y-%m-%d %H:%M:%f', json_extract(json, '$.resolved_at') / 1000.0, 'unixepoch') AS resolved
  FROM incidents ORDER BY number;
CREATE VIEW run_list AS -- runs of playbooks and whether they are over
  SELECT id, incident, CASE finished WHEN 0 THEN 'running' ELSE 'over' END AS state, json
  FROM runs ORDER BY id;
CREATE VIEW cursor_list AS -- how far each process's journal was read
  SELECT journal, segment, offset FROM cursors ORDER BY journal;
";

/// Makes everything, inside the caller's transaction.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(DDL)
}

/// Notes the version of a new ledger.
pub(crate) fn set_first_version(connection: &Connection) -> rusqlite::Result<()> {
    put_version(connection, WHOLE)
}

/// Notes that an earlier Grace would not understand it any more.
pub(crate) fn set_version(connection: &Connection) -> rusqlite::Result<()> {
    put_version(connection, VERSION)
}

fn put_version(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    let value = Value::Text(version.to_string());
    META.put(connection, vec![Value::Text("version".to_owned()), value])
}

/// Whether there is any table at all.
pub(crate) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })
}

/// What differs from the schema above. Tables, views and indexes of somebody else's are fine.
pub(crate) fn difference(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let wanted = Connection::open_in_memory()?;
    create(&wanted)?;
    let mut objects = wanted.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let mut rows = objects.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let here: (String, String, Option<String>) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let there = connection
            .query_row(
                "SELECT type, tbl_name, sql FROM sqlite_schema WHERE name = ?1",
                [&name],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        match there {
            None => return Ok(Some(format!("{name} is missing from the schema"))),
            Some(there) if there != here => {
                return Ok(Some(format!("{name} in the schema was changed")));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}
