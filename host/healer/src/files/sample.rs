//! Regular looks at declared files. A file is read again only when its metadata changed, when
//! the change is so fresh that metadata could miss a second one, or after a while to be sure.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, PathBuf};
use std::sync::PoisonError;

use grace_model::instance::{InstanceView, State};
use grace_model::plugin::{Field, Observation};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Declared, Files, look, real_path};

/// Timestamps of files are no finer than a tick; for this long a same timestamp proves nothing.
const FRESH_MS: u64 = 2_000;
/// Read again after this even when nothing seems changed.
const SURE_MS: u64 = 10_000;
/// The same for an artifact, which may be large: what neither time nor size betrays is rot.
const SURE_ARTIFACT_MS: u64 = 600_000;
/// A file that stays as it should be is told this often.
const TELL_MS: u64 = 5_000;

/// What one look gave.
#[derive(Debug, Default)]
pub struct Sampled {
    /// For the detectors.
    pub observations: Vec<Observation>,
    /// Files that became good for the first time.
    pub baselines: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Sampler {
    seen: HashMap<PathBuf, Seen>,
    told: HashMap<(String, PathBuf), Told>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    stamp: Option<Stamp>,
    read_wall_ms: u64,
    read_ms: u64,
    hash: String,
    problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    changed_ms: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    at_ms: u64,
    hash: String,
    good_hash: String,
    problem: Option<String>,
}

impl Files {
    /// Looks at the declared files of these instances; takes the baseline of those that are
    /// ready and have none.
    pub fn sample(&self, instances: &[InstanceView]) -> Sampled {
        let mut sampled = Sampled::default();
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shared = HashSet::new();
        for view in instances {
            for file in self.declared(&view.id) {
                // One that all instances share is looked at once.
                if file.is_artifact() && file.inside.is_none() && !shared.insert(file.path.clone())
                {
                    continue;
                }
                self.sample_file(&mut sampler, view, &file, &mut sampled);
            }
        }
        sampled
    }

    fn sample_file(
        &self,
        sampler: &mut Sampler,
        view: &InstanceView,
        file: &Declared,
        sampled: &mut Sampled,
    ) {
        let (wall, steady) = (self.clock.wall_ms(), self.clock.steady_ms());
        let stamp = match no_link_on_the_way(file) {
            Some(stamp) => Some(stamp),
            None => real_path(file)
                .and_then(fs::symlink_metadata)
                .ok()
                .map(|m| Stamp::of(&m)),
        };
        let seen = match sampler.seen.get(&file.path) {
            Some(seen) if !seen.must_be_read_again(file, stamp.as_ref(), steady) => seen.clone(),
            _ => {
                let (hash, problem) = look(file);
                let seen = Seen {
                    stamp,
                    read_wall_ms: wall,
                    read_ms: steady,
                    hash,
                    problem,
                };
                sampler.seen.insert(file.path.clone(), seen.clone());
                seen
            }
        };
        let mut good = match self.good(file) {
            Ok(good) => good,
            Err(e) => {
                tracing::warn!(path = %file.path.display(), cause = %e, "the good mark cannot be read");
                return;
            }
        };
        if good.is_none()
            && !file.is_artifact()
            && view.state == State::Ready
            && seen.problem.is_none()
        {
            match self.baseline(&view.id) {
                Ok(paths) => sampled.baselines.extend(paths),
                Err(e) => tracing::warn!(instance = %view.id, cause = %e, "no baseline taken"),
            }
            good = self.good(file).ok().flatten();
        }
        let told = Told {
            at_ms: steady,
            hash: seen.hash,
            good_hash: good.map_or_else(String::new, |good| good.hash),
            problem: seen.problem,
        };
        let target = target_of(view, file).to_owned();
        let key = (target, file.path.clone());
        if sampler
            .told
            .get(&key)
            .is_some_and(|before| before.still_says(&told))
        {
            return;
        }
        sampled
            .observations
            .push(observation(wall, view, file, &told));
        sampler.told.insert(key, told);
    }
}

/// The stamp of a file whose path has no link in it, not even in its directories, and so is
/// the file's real path. One look in place of one a directory, for every file four times a
/// second. None says nothing: then every step of the path is looked at.
fn no_link_on_the_way(file: &Declared) -> Option<Stamp> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !file.path.components().all(plain) {
        return None;
    }
    let found = rustix::fs::openat2(
        rustix::fs::CWD,
        &file.path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )
    .ok()?;
    let meta = fs::File::from(found).metadata().ok()?;
    Some(Stamp::of(&meta))
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        let changed = (meta.ctime(), meta.ctime_nsec());
        let ms = changed
            .0
            .saturating_mul(1_000)
            .saturating_add(changed.1 / 1_000_000);
        Self {
            inode: (meta.dev(), meta.ino()),
            size: meta.len(),
            changed_ms: u64::try_from(ms).unwrap_or(0),
            changed,
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

impl Seen {
    fn must_be_read_again(&self, file: &Declared, stamp: Option<&Stamp>, steady_ms: u64) -> bool {
        let sure_ms = if file.is_artifact() {
            SURE_ARTIFACT_MS
        } else {
            SURE_MS
        };
        let fresh_when_read = self
            .stamp
            .as_ref()
            .is_some_and(|s| self.read_wall_ms.abs_diff(s.changed_ms) < FRESH_MS);
        self.stamp.as_ref() != stamp
            || fresh_when_read
            || steady_ms.saturating_sub(self.read_ms) >= sure_ms
    }
}

impl Told {
    /// Whether there is no need to tell `now`: nothing changed, all is well, told not long ago.
    fn still_says(&self, now: &Told) -> bool {
        let same = (&self.hash, &self.good_hash, &self.problem)
            == (&now.hash, &now.good_hash, &now.problem);
        let well = now.problem.is_none() && now.hash == now.good_hash;
        same && well && now.at_ms.saturating_sub(self.at_ms) < TELL_MS
    }
}

/// What an observation of the file is about: an artifact that all instances share is the
/// service's.
fn target_of<'v>(view: &'v InstanceView, file: &Declared) -> &'v str {
    if file.is_artifact() && file.inside.is_none() {
        view.service.as_str()
    } else {
        view.id.as_str()
    }
}

fn observation(at: u64, view: &InstanceView, file: &Declared, told: &Told) -> Observation {
    let target = target_of(view, file).to_owned();
    if file.is_artifact() {
        return Observation {
            at,
            target,
            kind: "artifact.file".to_owned(),
            fields: vec![
                Field::new("service", view.service.as_str()),
                Field::new("path", file.path.display().to_string()),
                Field::new("hash", told.hash.as_str()),
                Field::new("good_hash", told.good_hash.as_str()),
                Field::new("problem", told.problem.clone().unwrap_or_default()),
            ],
        };
    }
    Observation {
        at,
        target,
        kind: "config.file".to_owned(),
        fields: vec![
            Field::new("service", view.service.as_str()),
            Field::new("path", file.path.display().to_string()),
            Field::new("hash", told.hash.as_str()),
            Field::new("good_hash", told.good_hash.as_str()),
            Field::new("valid", told.problem.is_none()),
            Field::new("problem", told.problem.clone().unwrap_or_default()),
        ],
    }
}
