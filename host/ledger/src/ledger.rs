//! The writing end: one process, one transaction at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior};

use crate::anchor;
use crate::entry::GENESIS;
use crate::head::{self, Head, HeadFile, with_suffix};
use crate::read::{PATIENCE, Queries, Reader};
use crate::schema::HEAD;
use crate::tx::Tx;
use crate::verify::{State, inspect};
use crate::{LedgerError, Result, salvage, schema, verify};

/// How long another holder of the lock may take to let go.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// What was found at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There was none before.
    Fresh,
    /// All of it verified.
    Verified {
        /// Number of the last entry.
        entries: u64,
    },
    /// What is behind the mark of the last full verification verified; what is before it was
    /// verified then, and is to be again soon: [`Ledger::mark_verified`].
    Since {
        /// Number of the last entry.
        entries: u64,
        /// Number of the marked entry.
        mark: u64,
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
    /// Opens the ledger at `path`, or makes one, and verifies all of it, or of a long one what is
    /// behind the mark.
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
            State::Whole {
                entries,
                mark: None,
            } => Opened::Verified { entries },
            State::Whole {
                entries,
                mark: Some(mark),
            } => Opened::Since { entries, mark },
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

    /// Verifies all of it beside the writer, and marks how far that was, so that the next open
    /// need not look there again. When it does not verify, there is no mark any more, and the next
    /// open salvages. Answers with the number of the last entry.
    ///
    /// # Errors
    /// [`LedgerError::Broken`] or [`LedgerError::Damaged`] when it does not verify.
    pub fn mark_verified(&self) -> Result<u64> {
        let path = self.with(|c| Ok(PathBuf::from(c.path().unwrap_or_default())))?;
        let verified = Reader::open(&path).and_then(|reader| {
            let seq = reader.verify()?;
            let hash = reader.with(|c| Ok(verify::hash_of(c, seq)?))?;
            Ok(hash.map(|hash| Head { seq, hash }))
        });
        match verified {
            Ok(head) => {
                if let Some(head) = &head {
                    self.with(|c| Ok(anchor::set_mark(c, head)?))?;
                }
                Ok(head.map_or(0, |head| head.seq))
            }
            Err(error @ (LedgerError::Broken(_) | LedgerError::Damaged(_))) => {
                self.with(|c| Ok(anchor::clear_mark(c)?))?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Brings the log into the file, so that the file alone is the ledger. For a clean end.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] while somebody reads; nothing is lost then.
    pub fn fold(&self) -> Result<()> {
        let busy: bool = self
            .with(|c| Ok(c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?))?;
        if busy { Err(LedgerError::Busy) } else { Ok(()) }
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
        schema::set_first_version(connection)?;
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
