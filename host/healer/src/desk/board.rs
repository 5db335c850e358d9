//! The incidents in memory. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use grace_model::id::{IncidentId, InstanceId};
use grace_model::incident::{Incident, IncidentState};

/// When things happened to an incident, by the steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Since when it is unresolved.
    pub opened_ms: u64,
    /// Its last finding.
    pub seen_ms: u64,
    /// Its last change of state.
    pub state_ms: u64,
}

/// All incidents.
#[derive(Debug, Default)]
pub struct Board {
    incidents: BTreeMap<u64, Incident>,
    times: HashMap<IncidentId, Times>,
    latest: HashMap<(String, String), IncidentId>,
    /// Signatures that were attached to a running incident.
    related: HashMap<IncidentId, BTreeSet<String>>,
}

/// What a transaction changed.
#[derive(Debug, Default)]
pub struct Changes {
    pub(super) incidents: BTreeMap<u64, Incident>,
    pub(super) times: HashMap<IncidentId, Times>,
    pub(super) related: Vec<(IncidentId, String)>,
    /// Incidents that the ledger let go.
    pub(super) gone: Vec<IncidentId>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.incidents.is_empty() && self.related.is_empty() && self.gone.is_empty()
    }
}

impl Board {
    /// All, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// Those that are not over, oldest first.
    pub fn unresolved(&self) -> impl Iterator<Item = &Incident> {
        self.all()
            .filter(|incident| incident.state != IncidentState::Resolved)
    }

    /// One.
    #[must_use]
    pub fn get(&self, id: &IncidentId) -> Option<&Incident> {
        self.incidents
            .get(&number(id))
            .filter(|incident| incident.id == *id)
    }

    /// Its times; none for one that was over when the process began.
    #[must_use]
    pub fn times(&self, id: &IncidentId) -> Option<Times> {
        self.times.get(id).copied()
    }

    /// The newest incident of a signature and target.
    #[must_use]
    pub fn latest(&self, signature: &str, target: &str) -> Option<&Incident> {
        self.get(
            self.latest
                .get(&(signature.to_owned(), target.to_owned()))?,
        )
    }

    /// The incident whose playbook has `target` in its hands.
    #[must_use]
    pub fn busy_with(&self, target: &str) -> Option<&Incident> {
        self.all()
            .find(|incident| in_work(incident.state) && overlap(&incident.target, target))
    }

    /// Whether a signature was already attached to a running incident.
    #[must_use]
    pub fn is_related(&self, id: &IncidentId, signature: &str) -> bool {
        self.related
            .get(id)
            .is_some_and(|signatures| signatures.contains(signature))
    }

    pub(super) fn next_number(&self) -> u64 {
        self.incidents
            .last_key_value()
            .map_or(1, |(number, _)| number + 1)
    }

    /// `last`: its last change of state, by the wall.
    pub(super) fn restore(
        &mut self,
        incident: Incident,
        last: Option<u64>,
        wall: u64,
        steady: u64,
    ) {
        if incident.state != IncidentState::Resolved {
            let ago = |at: u64| steady.saturating_sub(wall.saturating_sub(at));
            let times = Times {
                // The time it may stay unresolved begins anew: a wall clock that jumped while
                // nobody measured must not escalate everything at once.
                opened_ms: steady,
                seen_ms: steady,
                state_ms: ago(last.unwrap_or(incident.last_seen_at)),
            };
            self.times.insert(incident.id.clone(), times);
        }
        self.put(incident);
    }

    pub(super) fn install(&mut self, changes: Changes) {
        self.times.extend(changes.times);
        for (id, signature) in changes.related {
            self.related.entry(id).or_default().insert(signature);
        }
        for (_, incident) in changes.incidents {
            if !in_work(incident.state) {
                self.related.remove(&incident.id);
            }
            self.put(incident);
        }
        for id in changes.gone {
            self.times.remove(&id);
            self.related.remove(&id);
            self.incidents.remove(&number(&id));
            self.latest.retain(|_, latest| *latest != id);
        }
    }

    fn put(&mut self, incident: Incident) {
        let key = (incident.signature.clone(), incident.target.clone());
        self.latest.insert(key, incident.id.clone());
        self.incidents.insert(number(&incident.id), incident);
    }
}

/// Whether a playbook holds the incident's target.
#[must_use]
pub fn in_work(state: IncidentState) -> bool {
    matches!(
        state,
        IncidentState::Diagnosing | IncidentState::Healing | IncidentState::Verifying
    )
}

/// Whether two targets are the same, or one is an instance of the other.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    let part_of = |instance: &str, service: &str| {
        InstanceId::from(instance)
            .split()
            .is_some_and(|(name, _)| name.as_str() == service)
    };
    one == other || part_of(one, other) || part_of(other, one)
}

/// The N of `inc-N`.
pub(super) fn number(id: &IncidentId) -> u64 {
    id.as_str()
        .rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}
