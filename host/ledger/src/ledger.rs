//! The writing end: one process, one transaction at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior};

use crate::entry::GENESIS;
use crate::head::{self, Head, HeadFile, with_suffix};
use crate::read::{PATIENCE, Queries};
use crate::schema::{HEAD, META};
use crate::tx::Tx;
use crate::verify::{State, inspect};
use crate::{LedgerError, Result, salvage, schema};

/// How long another holder of the lock may take to let go.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// What was found at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There was none before.
    Fresh,
    /// All of it verified.
    Verified {
        /// Number of entries.
        entries: u64,
    },
    /// It was damaged. The file is kept, a new ledger has begun.
    Salvaged {
        /// The damaged file, whole, with its log beside it.
        damaged: PathBuf,
        /// Entries that verify and stayed in their places.
        kept: u64,
        /// Entries from behind the damage, taken over as [`crate::SALVAGED`].
        salvaged: u64,
        /// What was wrong.
        reason: String,
    },
}

/// The ledger, open for writing. Share it by reference; calls from several threads take turns.
pub struct Ledger {
    writer: Mutex<Writer>,
    /// Held for as long as the ledger is open, so that there is one writing process.
    _lock: File,
}

struct Writer {
    connection: Connection,
    head_file: HeadFile,
}

impl Ledger {
    /// Opens the ledger at `path`, or makes one, and verifies all of it.
    ///
    /// Beside it lie `PATH-lock`, `PATH-head` (the witness of the last entry)
    /// and SQLite's `PATH-wal` and `PATH-shm`.
    ///
    /// # Errors
    /// [`LedgerError`]. Damage is none: see [`Opened::Salvaged`].
    pub fn open(path: &Path) -> Result<(Self, Opened)> {
        let lock = lock(path)?;
        salvage::finish_interrupted(path)?;
        let opened = match inspect(path)? {
            State::Empty => Opened::Fresh,
            State::Whole { entries } => Opened::Verified { entries },
            State::Damaged(broken) => salvage::salvage(path, &broken)?,
        };
        let connection = connect(path)?;
        if opened == Opened::Fresh {
            create(&connection)?;
        }
        let head_file = HeadFile::open(&head::path_of(path));
        let writer = Mutex::new(Writer {
            connection,
            head_file,
        });
        Ok((
            Self {
                writer,
                _lock: lock,
            },
            opened,
        ))
    }

    /// Does all that `work` asks, or nothing of it. When this returns `Ok`, it is on the disk.
    ///
    /// Inside, ask the [`Tx`] and not the ledger, which is busy with the transaction.
    ///
    /// # Errors
    /// What `work` answers, or why it could not be written.
    pub fn transaction<T, E: From<LedgerError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = &mut *writer;
        let (answer, head) = write(&mut writer.connection, work)?;
        if let Some(head) = head {
            writer.head_file.note(&head);
        }
        Ok(answer)
    }

    /// Limits the database to so many pages, to fill it up without filling a disk.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u64) {
        let writer = self.writer.lock().unwrap();
        writer
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    }
}

impl Queries for Ledger {
    fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        query(
            &self
                .writer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .connection,
        )
    }
}

/// One transaction; it is rolled back when it is dropped without a commit.
pub(crate) fn write<T, E: From<LedgerError>>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Tx<'_>) -> std::result::Result<T, E>,
) -> std::result::Result<(T, Option<Head>), E> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(LedgerError::from)?;
    let mut tx = Tx::begin(&transaction)?;
    let answer = work(&mut tx)?;
    let head = tx.end()?;
    transaction.commit().map_err(LedgerError::from)?;
    Ok((answer, head))
}

/// A connection that writes. FULL: a commit that returned has been synced.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    let made = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    made.map_err(|cause| LedgerError::File {
        path: path.to_owned(),
        cause,
    })?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        match row.get_ref(0)?.as_str() {
            Ok("wal") => Ok(()),
            _ => Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_PROTOCOL),
                Some("no write-ahead log is possible on this file system".to_owned()),
            )),
        }
    })?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Makes the tables of an empty ledger.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = schema::create(connection).and_then(|()| {
        let version = Value::Text(schema::VERSION.to_string());
        META.put(connection, vec![Value::Text("version".to_owned()), version])?;
        let genesis = Value::Text(GENESIS.to_owned());
        HEAD.put(
            connection,
            vec![Value::Integer(1), Value::Integer(0), genesis],
        )?;
        connection.execute_batch("COMMIT")
    });
    if made.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(made?)
}

fn lock(path: &Path) -> Result<File> {
    let lock_path = with_suffix(path, "-lock");
    let failed = |cause| LedgerError::File {
        path: lock_path.clone(),
        cause,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed)?;
    // A child that was just forked holds a copy of every lock until it runs its program, and a
    // writer that was just killed until it is gone.
    let given_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < given_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_full_database_is_a_typed_error_that_writes_nothing_and_passes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let (ledger, opened) = Ledger::open(&path).unwrap();
        assert_eq!(opened, Opened::Fresh);
        let pages = ledger
            .with(|c| Ok(c.query_row("PRAGMA page_count", [], |row| row.get::<_, u64>(0))?))
            .unwrap();
        ledger.limit_pages(pages + 4);
        let body = json!({"text": "x".repeat(1000)});
        let write = |count: u32| {
            ledger.transaction(|tx| {
                for _ in 0..count {
                    tx.append("note", None, 1, &body)?;
                }
                tx.put("last", &count)
            })
        };
        write(2).unwrap();
        assert!(matches!(write(200), Err(LedgerError::DiskFull)));
        assert_eq!(ledger.count().unwrap(), 2);
        assert_eq!(ledger.get("last").unwrap(), Some(json!(2)));
        ledger.limit_pages(1 << 20);
        write(200).unwrap();
        assert_eq!(ledger.verify().unwrap(), 202);
        drop(ledger);
        let (_ledger, opened) = Ledger::open(&path).unwrap();
        assert_eq!(opened, Opened::Verified { entries: 202 });
    }
}
