//! Whether a ledger is what was written: the chain of entries, the checksums of all other
//! rows, the schema, SQLite's own structure, and the witness. It only reads.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::anchor::{self, PRUNED};
use crate::entry::Row;
use crate::error::{Broken, LedgerError, speaks_of_damage};
use crate::head::{self, Head};
use crate::read::{ENTRY, entry_row, open_read_only};
use crate::schema::{self, CARRIED, HEAD, META, StateTable};

/// What a file turned out to be.
pub(crate) enum State {
    /// Nothing was ever acknowledged.
    Empty,
    /// All of it verifies.
    Whole {
        /// Number of the last entry.
        entries: u64,
        /// What is up to here was not looked at.
        mark: Option<u64>,
    },
    /// Something does not.
    Damaged(Broken),
}

/// Looks at the database at `path` without changing it.
pub(crate) fn inspect(path: &Path) -> Result<State, LedgerError> {
    let claim = head::claim(&head::path_of(path)).filter(|head| head.seq > 0);
    let length = match std::fs::metadata(path) {
        Ok(data) => data.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(cause) => {
            return Err(LedgerError::File {
                path: path.to_owned(),
                cause,
            });
        }
    };
    if length == 0 {
        return Ok(match claim {
            None => State::Empty,
            Some(head) => State::Damaged(Broken {
                seq: 1,
                reason: format!(
                    "the file is empty or missing, {} entries were in it",
                    head.seq
                ),
            }),
        });
    }
    let judged = file_format(path).and_then(|()| {
        let connection = open_read_only(path).map_err(judge)?;
        if claim.is_none() && never_written(&connection).map_err(judge)? {
            return Ok(State::Empty);
        }
        let from = trusted(&connection).map_err(judge)?;
        let mark = from.as_ref().map(|mark| mark.seq);
        check(&connection, claim.as_ref(), from).map(|entries| State::Whole { entries, mark })
    });
    match judged {
        Err(LedgerError::Broken(broken)) => Ok(State::Damaged(broken)),
        other => other,
    }
}

/// Shorter ledgers are verified whole: it takes a moment.
const SHORT: u64 = 20_000;

/// The mark of a ledger that is long enough before it. A mark must be an entry's own hash: one
/// that is not is as good as none.
fn trusted(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    let (Some(mark), Some(anchor)) = (anchor::mark(connection)?, anchor::anchor(connection)?)
    else {
        return Ok(None);
    };
    if mark.seq < anchor.seq + SHORT {
        return Ok(None);
    }
    let held = hash_of(connection, mark.seq)?;
    Ok((held.as_deref() == Some(mark.hash.as_str())).then_some(mark))
}

/// Recomputes everything, or what is behind `mark`; answers with the number of the last entry.
pub(crate) fn check(
    connection: &Connection,
    claim: Option<&Head>,
    mark: Option<Head>,
) -> Result<u64, LedgerError> {
    // One snapshot for all parts. A savepoint, because a transaction may be open already.
    connection
        .execute_batch("SAVEPOINT verify")
        .map_err(judge)?;
    let checked = parts(connection, claim, mark);
    let released = connection.execute_batch("RELEASE verify").map_err(judge);
    checked.and_then(|entries| released.map(|()| entries))
}

fn parts(
    connection: &Connection,
    claim: Option<&Head>,
    mark: Option<Head>,
) -> Result<u64, LedgerError> {
    version(connection)?;
    let anchor = anchor::anchor(connection)
        .map_err(judge)?
        .ok_or_else(|| Broken {
            seq: 1,
            reason: "the note of what was let go is unreadable".to_owned(),
        })?;
    let whole = mark.is_none();
    let chain = chain(connection, mark.unwrap_or_else(|| anchor.clone()))?;
    let last = chain.last;
    let behind = last.seq + 1;
    let unfounded = || whole && anchor.seq > 0 && chain.let_go.as_ref() != Some(&anchor);
    if chain.broken.is_none() && unfounded() {
        let reason = "no entry tells of those that are missing before it".to_owned();
        let seq = anchor.seq + 1;
        return Err(Broken { seq, reason }.into());
    }
    if let Some(reason) = chain.broken {
        return Err(Broken {
            seq: behind,
            reason,
        }
        .into());
    }
    let wrong = |reason: String| {
        LedgerError::from(Broken {
            seq: behind,
            reason,
        })
    };
    if let Some(reason) = schema::difference(connection).map_err(judge)? {
        return Err(wrong(reason));
    }
    let noted = noted_head(connection).map_err(judge)?;
    if noted.as_ref() != Some(&last) {
        return Err(wrong(format!(
            "the last entry is {}, noted was {noted:?}",
            last.seq
        )));
    }
    if let Some(claim) = claim {
        let held = hash_of(connection, claim.seq).map_err(judge)?;
        if claim.seq > last.seq {
            let lost = claim.seq - last.seq;
            return Err(wrong(format!("the last {lost} entries are missing")));
        }
        if claim.seq > anchor.seq && held.as_deref() != Some(claim.hash.as_str()) {
            return Err(wrong(format!(
                "entry {} is not the one that was acknowledged",
                claim.seq
            )));
        }
    }
    for table in CARRIED.iter().chain(&[&HEAD, &META]) {
        if let Some(reason) = bad_row(connection, table).map_err(judge)? {
            return Err(wrong(reason));
        }
    }
    if whole && let Some(reason) = structure(connection).map_err(judge)? {
        return Err(wrong(reason));
    }
    Ok(last.seq)
}

struct Chain {
    /// The last entry up to which everything holds.
    last: Head,
    /// What the last entry that tells of let go ones says.
    let_go: Option<Head>,
    /// Why the next one does not.
    broken: Option<String>,
}

fn chain(connection: &Connection, from: Head) -> Result<Chain, LedgerError> {
    let mut chain = Chain {
        last: from,
        let_go: None,
        broken: None,
    };
    chain.broken = match walk(connection, &mut chain) {
        Ok(broken) => broken,
        Err(error) if speaks_of_damage(&error) => Some(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    Ok(chain)
}

fn walk(connection: &Connection, chain: &mut Chain) -> rusqlite::Result<Option<String>> {
    // From the very first row when everything is looked at, so that one before the beginning is
    // noticed too. SQLite's numbers may be negative.
    let whole = anchor::anchor(connection)?.is_some_and(|anchor| anchor.seq == chain.last.seq);
    let from = if whole {
        i64::MIN
    } else {
        i64::try_from(chain.last.seq).unwrap_or(i64::MAX)
    };
    let mut statement = connection.prepare(&format!("{ENTRY} WHERE seq > ?1 ORDER BY seq"))?;
    let mut rows = statement.query([from])?;
    while let Some(row) = rows.next()? {
        let row = entry_row(row)?;
        if let Some(reason) = does_not_follow(&row, &chain.last) {
            return Ok(Some(reason));
        }
        if row.kind == PRUNED {
            chain.let_go = let_go(&row.body);
        }
        chain.last = Head {
            seq: row.seq,
            hash: row.hash,
        };
    }
    Ok(None)
}

/// What an entry of the kind [`PRUNED`] says of the last entry that went.
pub(crate) fn let_go(body: &str) -> Option<Head> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(Head {
        seq: body.get("through")?.as_u64()?,
        hash: body.get("hash")?.as_str()?.to_owned(),
    })
}

/// Why `row` is not what comes after `last`.
pub(crate) fn does_not_follow(row: &Row, last: &Head) -> Option<String> {
    if row.seq != last.seq + 1 {
        Some(format!("it is missing, {} comes next", row.seq))
    } else if row.prev != last.hash {
        Some("it does not follow the entry before it".to_owned())
    } else if row.hash != row.computed_hash() {
        Some("its content does not match its hash".to_owned())
    } else {
        None
    }
}

fn version(connection: &Connection) -> Result<(), LedgerError> {
    let mut found = None;
    META.rows(connection, |values, holds| {
        if let ([Value::Text(name), Value::Text(value)], true) = (values.as_slice(), holds)
            && name == "version"
        {
            found = value.parse::<u32>().ok();
        }
        Ok(())
    })
    .map_err(judge)?;
    match found {
        Some(found) if found > schema::VERSION => Err(LedgerError::NewerVersion {
            path: connection.path().unwrap_or_default().into(),
            found,
            known: schema::VERSION,
        }),
        Some(_) => Ok(()),
        None => Err(Broken {
            seq: 1,
            reason: "its version is unreadable".to_owned(),
        }
        .into()),
    }
}

/// The last entry as the database itself notes it.
pub(crate) fn noted_head(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    let mut noted = None;
    HEAD.rows(connection, |values, holds| {
        if let ([Value::Integer(1), Value::Integer(seq), Value::Text(hash)], true) =
            (values.as_slice(), holds)
        {
            noted = u64::try_from(*seq).ok().map(|seq| Head {
                seq,
                hash: hash.clone(),
            });
        }
        Ok(())
    })?;
    Ok(noted)
}

pub(crate) fn hash_of(connection: &Connection, seq: u64) -> rusqlite::Result<Option<String>> {
    use rusqlite::OptionalExtension;
    connection
        .query_row("SELECT hash FROM entries WHERE seq = ?1", [seq], |row| {
            row.get(0)
        })
        .optional()
}

fn bad_row(connection: &Connection, table: &StateTable) -> rusqlite::Result<Option<String>> {
    let mut bad = None;
    table.rows(connection, |values, holds| {
        if !holds && bad.is_none() {
            let key = values.into_iter().next().unwrap_or(Value::Null);
            bad = Some(format!("row {key:?} of {} was changed", table.name));
        }
        Ok(())
    })?;
    Ok(bad)
}

/// SQLite's own judgement: pages, indexes, types.
fn structure(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let first: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((first != "ok").then_some(first))
}

/// A crash between the making of the file and of its tables leaves this.
fn never_written(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(schema::is_empty(connection)?
        && connection.query_row("PRAGMA page_count", [], |row| row.get::<_, u64>(0))? <= 1
        && structure(connection)?.is_none())
}

/// The two bytes of the header that say whether there is a log beside the file: were they
/// changed, SQLite would believe them and pass over the log.
fn file_format(path: &Path) -> Result<(), LedgerError> {
    use std::os::unix::fs::FileExt;
    let mut versions = [0_u8; 2];
    let read = std::fs::File::open(path).and_then(|file| file.read_exact_at(&mut versions, 18));
    match read {
        Ok(()) if versions == [2, 2] => Ok(()),
        Ok(()) => {
            let reason = "its header does not say write-ahead log".to_owned();
            Err(Broken { seq: 1, reason }.into())
        }
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Broken {
            seq: 1,
            reason: "its header is cut off".to_owned(),
        }
        .into()),
        Err(cause) => Err(LedgerError::File {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// An error while reading is damage, unless it is the machine's fault.
fn judge(error: rusqlite::Error) -> LedgerError {
    if speaks_of_damage(&error) {
        Broken {
            seq: 1,
            reason: error.to_string(),
        }
        .into()
    } else {
        error.into()
    }
}
