//! What to do with a damaged ledger: keep it, whole, and begin a new one with what of it
//! still verifies. The new one is made completely before the old one is moved, so that a
//! crash at any point leaves one or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use grace_model::id::IncidentId;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use crate::Result;
use crate::anchor::{self, PRUNED};
use crate::entry::{LEDGER_DAMAGED, Row, SALVAGED};
use crate::error::{Broken, LedgerError, speaks_of_damage};
use crate::head::{self, Head, HeadFile, with_suffix};
use crate::ledger::{Opened, connect, create, write};
use crate::read::{ENTRY, entry_row, open_read_only};
use crate::schema::{CARRIED, COUNTERS, INCIDENTS, StateTable};
use crate::tx::{Tx, number_in};
use crate::verify::{does_not_follow, let_go, noted_head};

/// The files of a database beside the database itself.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-head"];

/// Keeps the ledger at `path` aside and puts a new one in its place.
pub(crate) fn salvage(path: &Path, broken: &Broken) -> Result<Opened> {
    let now = now_ms();
    let damaged = free_name(path, now);
    let unfinished = unfinished_path(path);
    let old = Old::open(path)?;
    let mut connection = connect(&unfinished)?;
    create(&connection)?;
    let (carried, new_head) = write(&mut connection, |tx| carry(&old, tx, &damaged, broken, now))?;
    close(connection, &unfinished)?;
    drop(old);
    rename_if_there(&unfinished, &rebuilt_path(path))?;
    sync_directory(path)?;

    keep_aside(path, &damaged)?;
    install(path)?;
    if let Some(head) = new_head {
        HeadFile::open(&head::path_of(path)).note(&head);
    }
    Ok(Opened::Salvaged {
        damaged,
        kept: carried.kept,
        salvaged: carried.salvaged,
        reason: broken.to_string(),
    })
}

/// Ends a salvage that a crash cut off.
pub(crate) fn finish_interrupted(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        remove_if_there(&with_suffix(&unfinished_path(path), suffix))?;
    }
    let rebuilt = rebuilt_path(path);
    if !rebuilt.exists() {
        return Ok(());
    }
    if path.exists() {
        // The old one was not yet moved. The new one is made again from it.
        return remove_if_there(&rebuilt);
    }
    let damaged = newest_damaged(path)?.unwrap_or_else(|| free_name(path, now_ms()));
    keep_aside(path, &damaged)?;
    install(path)
}

/// What was taken over.
struct Carried {
    kept: u64,
    salvaged: u64,
}

fn carry(old: &Old, tx: &mut Tx<'_>, damaged: &Path, broken: &Broken, now: u64) -> Result<Carried> {
    let (kept, anchor) = old.carry_prefix(tx)?;
    let rest = old.sound_entries_behind(kept)?;
    let last_sound = rest.last_key_value().map_or(kept, |(seq, _)| *seq);
    let last_known = old.last_known.max(last_sound);
    let salvaged = u64::try_from(rest.len()).unwrap_or(u64::MAX);
    let lost = last_known.saturating_sub(kept).saturating_sub(salvaged);
    let (rows, rows_lost) = old.carry_state(tx)?;
    old.raise_counters(tx, lost)?;
    let body = json!({
        "file": damaged.display().to_string(),
        "reason": broken.reason,
        "first_untrusted": kept + 1,
        "kept": kept,
        "salvaged": salvaged,
        "lost": lost,
        "state_rows": rows,
        "state_rows_lost": rows_lost,
    });
    tx.append(LEDGER_DAMAGED, None, now, &body)?;
    if anchor.seq > 0 {
        // The entry that told of it may be behind the damage, where no place is proven.
        let body = json!({ "through": anchor.seq, "hash": anchor.hash, "entries": 0,
                           "why": "taken over from the damaged ledger" });
        tx.append(PRUNED, None, now, &body)?;
    }
    for row in rest.into_values() {
        let incident = row.incident.map(IncidentId);
        let content: Value = serde_json::from_str(&row.body).unwrap_or(Value::String(row.body));
        let body = json!({"seq": row.seq, "kind": row.kind, "hash": row.hash, "body": content});
        tx.append(SALVAGED, incident.as_ref(), row.at, &body)?;
    }
    Ok(Carried { kept, salvaged })
}

/// The damaged ledger, as far as it can be read. Damage is an absence here; only the
/// machine's faults are errors.
struct Old {
    connection: Option<Connection>,
    last_known: u64,
}

impl Old {
    fn open(path: &Path) -> Result<Self> {
        let claimed = head::claim(&head::path_of(path)).map_or(0, |head| head.seq);
        let empty = fs::metadata(path).map_or(true, |data| data.len() == 0);
        let connection = if empty {
            None
        } else {
            absent_if_damaged(open_read_only(path))?
        };
        let noted = match &connection {
            Some(connection) => absent_if_damaged(noted_head(connection))?.flatten(),
            None => None,
        };
        Ok(Self {
            connection,
            last_known: claimed.max(noted.map_or(0, |head| head.seq)),
        })
    }

    fn entry(&self, seq: u64) -> Result<Option<Row>> {
        let Some(connection) = &self.connection else {
            return Ok(None);
        };
        let read = connection
            .prepare_cached(&format!("{ENTRY} WHERE seq = ?1"))
            .and_then(|mut statement| statement.query_row([seq], entry_row).optional());
        let row = absent_if_damaged(read)?.flatten();
        Ok(row.filter(|row| row.seq == seq && row.hash == row.computed_hash()))
    }

    /// Copies entries for as long as the chain holds. Answers with the last one, and with what
    /// the chain begins behind.
    fn carry_prefix(&self, tx: &mut Tx<'_>) -> Result<(u64, Head)> {
        // Behind what was let go, if that can still be read.
        let noted = match &self.connection {
            Some(connection) => absent_if_damaged(anchor::anchor(connection))?.flatten(),
            None => None,
        };
        let mut last = anchor::beginning();
        if let Some(anchor) = noted.filter(|anchor| anchor.seq > 0)
            && let Some(first) = self.entry(anchor.seq + 1)?
            && does_not_follow(&first, &anchor).is_none()
            && self.tells_of(&anchor)?
        {
            tx.begin_behind(&anchor)?;
            last = anchor;
        }
        let begin = last.clone();
        while let Some(row) = self.entry(last.seq + 1)? {
            if does_not_follow(&row, &last).is_some() {
                break;
            }
            last = Head {
                seq: row.seq,
                hash: row.hash.clone(),
            };
            tx.insert(row)?;
        }
        Ok((last.seq, begin))
    }

    /// Whether an entry tells of those that were let go up to here.
    fn tells_of(&self, anchor: &Head) -> Result<bool> {
        let Some(connection) = &self.connection else {
            return Ok(false);
        };
        let last = connection
            .prepare_cached(&format!(
                "{ENTRY} WHERE kind = ?1 ORDER BY seq DESC LIMIT 1"
            ))
            .and_then(|mut statement| statement.query_row([PRUNED], entry_row).optional());
        let last = absent_if_damaged(last)?.flatten();
        Ok(last.is_some_and(|row| {
            row.hash == row.computed_hash() && let_go(&row.body).as_ref() == Some(anchor)
        }))
    }

    /// All entries behind number `kept` whose own hash holds: from the front, from the back,
    /// and one by one between where both broke off. They are kept in memory, because what a
    /// scan meets on a damaged page need not be found again by its number.
    fn sound_entries_behind(&self, kept: u64) -> Result<BTreeMap<u64, Row>> {
        let mut sound = BTreeMap::new();
        let front = self.scan(kept, "ORDER BY seq", &mut sound)?;
        let Err(front) = front else { return Ok(sound) };
        let back = match self.scan(kept, "ORDER BY seq DESC", &mut sound)? {
            Err(Some(back)) => back,
            _ => self.last_known + 1,
        };
        for seq in front.unwrap_or(kept) + 1..back.min(self.last_known + 1) {
            if let Some(row) = self.entry(seq)? {
                sound.insert(seq, row);
            }
        }
        Ok(sound)
    }

    /// `Ok` inside: reached the end. `Err` inside: broke off behind this entry, if any.
    fn scan(
        &self,
        kept: u64,
        order: &str,
        sound: &mut BTreeMap<u64, Row>,
    ) -> Result<std::result::Result<(), Option<u64>>> {
        let Some(connection) = &self.connection else {
            return Ok(Err(None));
        };
        let mut last = None;
        let mut walk = || -> rusqlite::Result<()> {
            let sql = format!("{ENTRY} WHERE seq > ?1 {order}");
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([kept])?;
            while let Some(row) = rows.next()? {
                let row = entry_row(row)?;
                if row.seq > kept && row.hash == row.computed_hash() {
                    last = Some(row.seq);
                    sound.insert(row.seq, row);
                }
            }
            Ok(())
        };
        Ok(match absent_if_damaged(walk())? {
            Some(()) => Ok(()),
            None => Err(last),
        })
    }

    /// Copies every row of the other tables whose checksum holds. Answers how many, and how
    /// many tables or rows had to be left.
    fn carry_state(&self, tx: &mut Tx<'_>) -> Result<(u64, u64)> {
        let (mut rows, mut lost) = (0, 0);
        for table in CARRIED {
            let whole = self.each_row(table, |values, holds| {
                if holds {
                    tx_put(tx, table, values)?;
                    rows += 1;
                } else {
                    lost += 1;
                }
                Ok(())
            })?;
            lost += u64::from(!whole);
        }
        Ok((rows, lost))
    }

    /// Numbers must not be given twice. A counter that was lost begins behind every number
    /// that can still be seen, and behind those that lost entries may have used.
    fn raise_counters(&self, tx: &mut Tx<'_>, lost: u64) -> Result<()> {
        let mut seen = 0;
        self.each_row(&INCIDENTS, |values, _| {
            if let Some(rusqlite::types::Value::Text(id)) = values.first() {
                seen = seen.max(number_in(id));
            }
            Ok(())
        })?;
        let named: Option<Vec<String>> = match &self.connection {
            None => None,
            Some(connection) => absent_if_damaged(incidents_of_entries(connection))?,
        };
        for id in named.unwrap_or_default() {
            seen = seen.max(number_in(&id));
        }
        let mut names = vec!["incident".to_owned()];
        self.each_row(&COUNTERS, |values, holds| {
            if let (Some(rusqlite::types::Value::Text(name)), true) = (values.first(), holds) {
                names.push(name.clone());
            }
            Ok(())
        })?;
        names.dedup();
        for name in BTreeSet::from_iter(names) {
            let floor = if name == "incident" { seen } else { 0 };
            let value = tx.counter(&name)?.max(floor) + lost;
            if value > 0 {
                tx.set_counter(&name, value)?;
            }
        }
        Ok(())
    }

    /// Whether all rows could be read.
    fn each_row(
        &self,
        table: &StateTable,
        mut each: impl FnMut(Vec<rusqlite::types::Value>, bool) -> Result<()>,
    ) -> Result<bool> {
        let Some(connection) = &self.connection else {
            return Ok(false);
        };
        let mut failed = None;
        let read = table.rows(connection, |values, holds| {
            if failed.is_none() {
                failed = each(values, holds).err();
            }
            Ok(())
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(absent_if_damaged(read)?.is_some()),
        }
    }
}

fn tx_put(tx: &Tx<'_>, table: &StateTable, values: Vec<rusqlite::types::Value>) -> Result<()> {
    use crate::read::Queries;
    tx.with(|connection| Ok(table.put(connection, values)?))
}

fn incidents_of_entries(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT DISTINCT incident FROM entries NOT INDEXED WHERE incident IS NOT NULL";
    connection
        .prepare(sql)?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn absent_if_damaged<T>(read: rusqlite::Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if speaks_of_damage(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Brings the log into the file, so that the file alone is the ledger, and syncs it.
fn close(connection: Connection, path: &Path) -> Result<()> {
    connection.close().map_err(|(_, error)| error)?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|cause| failed(path, cause))
}

/// The database first: while it is there, the rest belongs to it.
fn keep_aside(path: &Path, damaged: &Path) -> Result<()> {
    rename_if_there(path, damaged)?;
    for suffix in BESIDE {
        rename_if_there(&with_suffix(path, suffix), &with_suffix(damaged, suffix))?;
    }
    sync_directory(path)
}

fn install(path: &Path) -> Result<()> {
    rename_if_there(&rebuilt_path(path), path)?;
    sync_directory(path)
}

/// Where the new ledger is made.
fn unfinished_path(path: &Path) -> PathBuf {
    with_suffix(path, ".unfinished")
}

/// Where it lies, complete, until the old one was moved.
fn rebuilt_path(path: &Path) -> PathBuf {
    with_suffix(path, ".rebuilt")
}

fn free_name(path: &Path, now: u64) -> PathBuf {
    let mut stamp = now;
    loop {
        let name = with_suffix(path, &format!(".damaged-{stamp}"));
        if !name.exists() && !head::path_of(&name).exists() {
            return name;
        }
        stamp += 1;
    }
}

fn newest_damaged(path: &Path) -> Result<Option<PathBuf>> {
    let prefix = format!(
        "{}.damaged-",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let directory = directory_of(path);
    let newest = fs::read_dir(directory)
        .map_err(|cause| failed(directory, cause))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok())
        .max();
    Ok(newest.map(|stamp| with_suffix(path, &format!(".damaged-{stamp}"))))
}

fn rename_if_there(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(from, error)),
        _ => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|cause| failed(directory, cause))
}

fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn failed(path: &Path, cause: std::io::Error) -> LedgerError {
    LedgerError::File {
        path: path.to_owned(),
        cause,
    }
}

/// Only for the name of the kept file and the entry that names it.
fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
