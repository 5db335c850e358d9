//! The playbooks: those inside the binary and those of the operator's directory, read again when
//! a file or the catalogue of actions changes. A bad file never stops a good one; an edit that
//! broke a file leaves its last good version in use and says so.

mod books;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use grace_ledger::{Ledger, Queries};
use grace_model::id::PlaybookId;
use grace_model::incident::Incident;
use grace_model::playbook::Playbook;
use grace_model::plugin::{Field, Value};
use grace_model::port::{PlaybookView, PluginHost};
use grace_plan::playbook::{Case, Chosen, Scope, arguments, choose};
use grace_plan::run::{End, Run, Stage};
use serde::Deserialize;

use super::Reach;
use super::rules::{Choice, cooldown_key, cooldown_key_of};
use crate::error::Result;
use books::Books;

/// Ends that are remembered: a playbook for each signature and target of a large fleet.
const ENDS: usize = 4_096;

/// All playbooks.
pub struct Shelf {
    dir: PathBuf,
    channels: Vec<String>,
    plugins: Arc<dyn PluginHost>,
    books: RwLock<Books>,
    /// Runs that ended well and badly.
    counts: Mutex<HashMap<PlaybookId, (u64, u64)>>,
    /// When a playbook last ended, [`counted`].
    ended: Mutex<HashMap<String, u64>>,
}

impl Shelf {
    /// Reads everything.
    ///
    /// # Errors
    /// When the ledger's runs cannot be read.
    pub fn open(
        builtin: &[(String, String)],
        dir: PathBuf,
        channels: Vec<String>,
        plugins: Arc<dyn PluginHost>,
        ledger: &Ledger,
    ) -> Result<Self> {
        let mut books = Books::default();
        for (name, text) in builtin {
            books.put_builtin(name, text);
        }
        let mut counts: HashMap<PlaybookId, (u64, u64)> = HashMap::new();
        for stored in ledger.runs()? {
            let Ok(run) = serde_json::from_value::<Run>(stored.json) else {
                continue;
            };
            let count = counts.entry(run.playbook.id).or_default();
            match run.stage {
                Stage::Ended {
                    end: End::Succeeded,
                } => count.0 += 1,
                _ if stored.finished => count.1 += 1,
                _ => {}
            }
        }
        let shelf = Self {
            dir,
            channels,
            plugins,
            books: RwLock::new(books),
            counts: Mutex::new(counts),
            ended: Mutex::new(HashMap::new()),
        };
        shelf.refresh();
        Ok(shelf)
    }

    /// Looks for changed files and a changed catalogue. Whether there was any.
    pub fn refresh(&self) -> bool {
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        let generation = self.plugins.generation();
        let changed = books.scan(&self.dir) | (books.generation != Some(generation));
        if changed {
            books.generation = Some(generation);
            books.check(&self.plugins.actions(), &self.channels);
        }
        changed
    }

    /// Playbooks as they are shown.
    #[must_use]
    pub fn views(&self) -> Vec<PlaybookView> {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        books
            .shown
            .iter()
            .map(|shown| {
                let id = PlaybookId(shown.id.clone());
                let (succeeded, failed) = counts.get(&id).copied().unwrap_or_default();
                let playbook = shown.playbook.as_ref();
                PlaybookView {
                    id: shown.id.clone(),
                    version: playbook.map_or(0, |p| p.version),
                    description: playbook.map_or_else(String::new, |p| p.description.clone()),
                    triggers: playbook.map_or_else(Vec::new, |p| {
                        p.triggers.iter().map(|t| t.finding.clone()).collect()
                    }),
                    origin: shown.origin.clone(),
                    error: shown.error.clone(),
                    succeeded,
                    failed,
                }
            })
            .collect()
    }

    /// Whether there is such a playbook, good or bad.
    #[must_use]
    pub fn knows(&self, id: &PlaybookId) -> bool {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        books.shown.iter().any(|shown| shown.id == id.as_str())
    }

    /// A playbook that can run.
    ///
    /// # Errors
    /// Why it cannot, for a person.
    pub fn usable(&self, id: &PlaybookId) -> std::result::Result<Playbook, String> {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        let named = || books.shown.iter().filter(|shown| shown.id == id.as_str());
        if let Some(playbook) = named().find_map(|shown| shown.playbook.clone()) {
            return Ok(playbook);
        }
        match named().find_map(|shown| shown.error.clone()) {
            Some(error) => Err(error),
            None => {
                let known: Vec<&str> = books.shown.iter().map(|s| s.id.as_str()).collect();
                Err(format!(
                    "there is no playbook {id}; there are: {}",
                    known.join(", ")
                ))
            }
        }
    }

    /// The playbook for an incident.
    #[must_use]
    pub fn choose(&self, incident: &Incident, reach: &Reach) -> Choice {
        let playbooks: Vec<Playbook> = {
            let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
            books
                .shown
                .iter()
                .filter_map(|shown| shown.playbook.clone())
                .collect()
        };
        let (wall, steady) = (reach.clock.wall_ms(), reach.clock.steady_ms());
        let boot = reach.clock.boot();
        let service = reach.service_of(&incident.target);
        let case = Case {
            finding: &incident.finding,
            service: Some(&service),
            incident: &incident.id,
            signature: &incident.signature,
            now: counted(steady),
        };
        let history = |id: &PlaybookId, signature: &str, target: &str| {
            let key = cooldown_key_of(id.as_str(), signature, target);
            self.last_end(&key, reach.desk.ledger(), wall, steady, &boot)
        };
        let choice = choose(&case, &playbooks, &history);
        let reason_of = |id: &PlaybookId| {
            let of = choice
                .considered
                .iter()
                .find(|considered| considered.playbook == *id);
            of.map_or_else(String::new, |considered| considered.reason.clone())
        };
        match &choice.chosen {
            Chosen::Playbook { id } => {
                match playbooks.into_iter().find(|playbook| playbook.id == *id) {
                    Some(playbook) => Choice::Run(
                        Box::new(playbook),
                        format!("playbook {id}: {}", reason_of(id)),
                    ),
                    None => Choice::None(format!("playbook {id} is gone")),
                }
            }
            Chosen::InCooldown { id, .. } => {
                Choice::None(format!("playbook {id} is {}", reason_of(id)))
            }
            Chosen::None => Choice::None(self.why_none(&incident.finding.kind)),
        }
    }

    fn why_none(&self, kind: &str) -> String {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        let usable = books
            .shown
            .iter()
            .filter(|shown| shown.playbook.is_some())
            .count();
        if usable == 0 {
            format!(
                "no playbook for {kind} can be used ({} cannot)",
                books.shown.len()
            )
        } else {
            format!("no playbook is for {kind}")
        }
    }

    /// The time of the last end, [`counted`]. What was written before the machine was started again is
    /// known by the wall clock only; from its first use here on it is measured steadily.
    fn last_end(
        &self,
        key: &str,
        ledger: &Ledger,
        wall: u64,
        steady: u64,
        boot: &str,
    ) -> Option<u64> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = ended.get(key) {
            return Some(*at);
        }
        let stored: Ended = serde_json::from_value(ledger.get(key).ok().flatten()?).ok()?;
        let at = stored.steady(wall, steady, boot);
        ended.insert(key.to_owned(), at);
        bound(&mut ended);
        Some(at)
    }

    /// Takes note of a run's end.
    pub fn ended(&self, run: &Run, ok: bool, steady_ms: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(run.playbook.id.clone()).or_default();
        if ok {
            count.0 += 1;
        } else {
            count.1 += 1;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(cooldown_key(run), counted(steady_ms));
        bound(&mut ended);
    }

    /// Filled-in parameters as the action declares them.
    ///
    /// # Errors
    /// Why they do not fit, for a person.
    pub fn fields(
        &self,
        action: &str,
        params: &BTreeMap<String, Value>,
    ) -> std::result::Result<Vec<Field>, String> {
        let actions = self.plugins.actions();
        let Some(info) = actions.iter().find(|info| info.name == action) else {
            return Err(format!("no live action pack has the action {action}"));
        };
        // They are values now: what looks like a name in them is none.
        let literal = params.iter().map(|(name, value)| {
            let value = match value {
                Value::Text(text) => Value::Text(text.replace("${", "$${")),
                other => other.clone(),
            };
            (name.clone(), value)
        });
        arguments(&literal.collect(), &Scope::new(), info).map_err(|e| e.to_string())
    }
}

/// A steady time, counted from long before the machine was started: what ended before that has a time
/// too.
fn counted(steady_ms: u64) -> u64 {
    steady_ms.saturating_add(1 << 60)
}

/// When a run ended, as the ledger has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ended {
    /// By the wall, by the steady clock, and since which start of the machine that one counts.
    Now(u64, u64, String),
    /// By the wall only, as ledgers have it that an earlier Grace began.
    Wall(u64),
}

impl Ended {
    /// By the steady clock of this start of the machine, [`counted`].
    fn steady(&self, wall: u64, steady: u64, boot: &str) -> u64 {
        match self {
            Self::Now(_, at, of) if of == boot && !boot.is_empty() => counted(*at),
            Self::Now(at, ..) | Self::Wall(at) => {
                counted(steady).saturating_sub(wall.saturating_sub(*at))
            }
        }
    }
}

/// Drops the older half of what is remembered when it is too much. The ledger still has it.
fn bound(ended: &mut HashMap<String, u64>) {
    if ended.len() <= ENDS {
        return;
    }
    let mut times: Vec<u64> = ended.values().copied().collect();
    let middle = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(middle);
    let middle = *middle;
    ended.retain(|_, at| *at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_ends_is_bounded_and_keeps_the_newest() {
        let mut ended = HashMap::new();
        for at in 0..10_000_u64 {
            ended.insert(format!("cooldown:{at}"), at);
            bound(&mut ended);
            assert!(ended.len() <= ENDS);
            assert!(ended.contains_key(&format!("cooldown:{at}")));
        }
        // Ends at one moment, as after a long sleep, are bounded too.
        let mut ended: HashMap<String, u64> = (0..=ENDS).map(|n| (n.to_string(), 7)).collect();
        bound(&mut ended);
        assert!(ended.len() <= ENDS);
    }
}
