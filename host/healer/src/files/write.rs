//! Changes of declared files: marking good, putting back. Each is atomic (written beside,
//! synced, renamed) and happens once an operation id: the intent is in the ledger before the
//! rename, the completion after it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::sync::PoisonError;

use grace_ledger::{LedgerError, Queries};
use grace_model::id::{IncidentId, InstanceId, OpId};
use grace_model::plugin::PluginError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Declared, Files, Good, broken, good_key, parse, read_file, real_path, unavailable};
use crate::reach::blobs::{beside, hash_of, write_new};

/// For whom something is written.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The operation.
    pub op: OpId,
    /// The incident, when there is one.
    pub incident: Option<IncidentId>,
}

/// What the ledger remembers of an operation on a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    /// What stands on the disk afterwards.
    wanted: String,
    /// Hash of the bytes that were replaced; none: nothing was.
    replaced: Option<String>,
    done: bool,
}

/// Why bytes are made the good copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// There is none yet.
    First,
    /// A playbook says so.
    Anew,
    /// A person says so, of an artifact.
    Artifact,
}

impl Mark {
    fn kind(self) -> &'static str {
        match self {
            Mark::First => "config-baseline",
            Mark::Anew => "config-snapshot",
            Mark::Artifact => "artifact-snapshot",
        }
    }
}

impl Files {
    /// Makes the bytes on the disk the last good copy. Answers with their hash.
    ///
    /// # Errors
    /// What the plugin will see.
    pub fn snapshot(
        &self,
        id: &InstanceId,
        path: &str,
        incident: Option<&IncidentId>,
    ) -> Result<String, PluginError> {
        let file = self.find(id, path)?;
        self.mark_good(id, &file, incident, Mark::Anew)?
            .ok_or_else(|| PluginError::Other("no copy was taken".to_owned()))
    }

    /// Makes the bytes of an artifact its snapshot.
    ///
    /// # Errors
    /// What could not be read or written.
    pub(super) fn snapshot_artifact(
        &self,
        target: &InstanceId,
        file: &Declared,
    ) -> Result<(), PluginError> {
        self.mark_good(target, file, None, Mark::Artifact).map(drop)
    }

    /// Marks the present bytes of every declared file as good that has no good copy yet and
    /// parses. Answers with the paths.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn baseline(&self, id: &InstanceId) -> Result<Vec<String>, PluginError> {
        let mut marked = Vec::new();
        for file in self.declared(id) {
            if file.is_artifact() || self.good(&file)?.is_some() {
                continue;
            }
            match self.mark_good(id, &file, None, Mark::First) {
                Ok(Some(_)) => marked.push(file.path.display().to_string()),
                Ok(None) => {}
                // Missing or broken: no baseline yet, and the detectors see it as such.
                Err(PluginError::InvalidInput(_) | PluginError::NotApplicable(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(marked)
    }

    fn mark_good(
        &self,
        id: &InstanceId,
        file: &Declared,
        incident: Option<&IncidentId>,
        mark: Mark,
    ) -> Result<Option<String>, PluginError> {
        let _turn = self.writing();
        // Two threads look for first copies; the bytes of the second could be somebody's edit.
        if mark == Mark::First && self.good(file)?.is_some() {
            return Ok(None);
        }
        let (bytes, meta) = read_file(file).map_err(|e| broken(&file.path, &e))?;
        if let Some(problem) = parse::problem(file.format, &bytes) {
            return Err(PluginError::InvalidInput(format!(
                "{}: {problem}",
                file.path.display()
            )));
        }
        let hash = self.blobs.keep(&bytes).map_err(|e| unavailable(&e))?;
        let at = self.clock.wall_ms();
        let good = Good {
            hash: hash.clone(),
            mode: meta.permissions().mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            at,
        };
        self.ledger
            .transaction::<_, LedgerError>(|tx| {
                tx.put(&good_key(file), &good)?;
                let body = json!({ "instance": id, "path": file.path, "hash": hash });
                tx.append(mark.kind(), incident, at, &body)?;
                Ok(())
            })
            .map_err(|e| unavailable(&e))?;
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.insert(file.path.clone(), Some(good));
        Ok(Some(hash))
    }

    /// Puts the last good copy back. Answers with the hash of what it replaced, or none when
    /// the file was good already.
    ///
    /// # Errors
    /// What the plugin will see.
    pub fn restore(
        &self,
        id: &InstanceId,
        path: &str,
        cause: &Cause,
    ) -> Result<Option<String>, PluginError> {
        let file = self.find(id, path)?;
        let Some(good) = self.good(&file)? else {
            return Err(PluginError::NotApplicable(format!(
                "{path} has no good copy yet: it never parsed while its instance was ready"
            )));
        };
        self.replace(id, &file, &good, &good.hash, cause)
    }

    /// Puts back bytes that [`Files::restore`] replaced.
    ///
    /// # Errors
    /// What the plugin will see.
    pub fn put_back(
        &self,
        id: &InstanceId,
        path: &str,
        hash: &str,
        cause: &Cause,
    ) -> Result<(), PluginError> {
        let file = self.find(id, path)?;
        let Some(good) = self.good(&file)? else {
            return Err(PluginError::NotApplicable(format!(
                "{path} was never restored"
            )));
        };
        self.replace(id, &file, &good, hash, cause)
            .map(|_replaced| ())
    }

    fn replace(
        &self,
        id: &InstanceId,
        file: &Declared,
        good: &Good,
        wanted: &str,
        cause: &Cause,
    ) -> Result<Option<String>, PluginError> {
        let _turn = self.writing();
        let key = format!("op:{}", cause.op);
        let known = self.ledger.get(&key).map_err(|e| unavailable(&e))?;
        let remembered: Option<Remembered> =
            known.and_then(|json| serde_json::from_value(json).ok());
        if let Some(Remembered {
            done: true,
            replaced,
            ..
        }) = remembered
        {
            return Ok(replaced);
        }
        let bytes = self.blobs.get(wanted).map_err(|e| {
            PluginError::NotApplicable(format!("the kept copy {wanted} cannot be used: {e}"))
        })?;
        let now = match read_file(file) {
            Ok((bytes, meta)) => Some((bytes, meta)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(broken(&file.path, &e)),
        };
        let now_hash = now
            .as_ref()
            .map_or_else(String::new, |(bytes, _)| hash_of(bytes));
        let intent = match remembered {
            // Begun before a crash: what was replaced then is the answer now.
            Some(begun) => begun,
            None => {
                let replaced = match &now {
                    Some(_) if now_hash == wanted => None,
                    Some((bytes, _)) => Some(self.blobs.keep(bytes).map_err(|e| unavailable(&e))?),
                    // A missing file is told as the hash of nothing.
                    None => Some(self.blobs.keep(b"").map_err(|e| unavailable(&e))?),
                };
                Remembered {
                    wanted: wanted.to_owned(),
                    replaced,
                    done: false,
                }
            }
        };
        self.remember(&key, &intent, None)?;
        if now_hash != intent.wanted {
            let owner = now
                .as_ref()
                .map_or((good.mode, good.uid, good.gid), |(_, meta)| {
                    (meta.permissions().mode() & 0o7777, meta.uid(), meta.gid())
                });
            put_file(file, &bytes, owner).map_err(|e| broken(&file.path, &e))?;
        }
        let done = Remembered {
            done: true,
            ..intent
        };
        let body = json!({ "instance": id, "path": file.path, "hash": done.wanted,
                           "replaced": done.replaced, "op": cause.op });
        self.remember(&key, &done, Some((cause, body)))?;
        Ok(done.replaced)
    }

    fn remember(
        &self,
        key: &str,
        what: &Remembered,
        entry: Option<(&Cause, serde_json::Value)>,
    ) -> Result<(), PluginError> {
        let at = self.clock.wall_ms();
        self.ledger
            .transaction::<_, LedgerError>(|tx| {
                tx.put(key, what)?;
                if let Some((cause, body)) = &entry
                    && what.replaced.is_some()
                {
                    tx.append("config-written", cause.incident.as_ref(), at, body)?;
                }
                Ok(())
            })
            .map_err(|e| unavailable(&e))
    }
}

/// Beside, synced, renamed; a reader sees the old bytes or the new ones.
fn put_file(file: &Declared, bytes: &[u8], owner: (u32, u32, u32)) -> io::Result<()> {
    let path = real_path(file)?;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it is no path of a file"));
    };
    let (mode, uid, gid) = owner;
    let new = beside(dir, &name.to_string_lossy());
    let written = write_new(&new, bytes, 0o600).and_then(|file| {
        let meta = file.metadata()?;
        if (meta.uid(), meta.gid()) != (uid, gid) {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    });
    if written.is_err() {
        let _never_made = fs::remove_file(&new);
    }
    written
}
