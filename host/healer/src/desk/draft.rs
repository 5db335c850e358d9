//! One change of incidents, inside one ledger transaction: the recognizer's rules (is this
//! finding new, known, come back or a companion?) and the arrows of an incident's life.

use std::collections::{BTreeMap, HashMap};

use grace_ledger::{Pruned, Retention, Tx};
use grace_model::TimestampMs;
use grace_model::id::IncidentId;
use grace_model::incident::{Incident, IncidentState};
use grace_model::plugin::Finding;
use serde::Serialize;
use serde_json::json;

use super::board::{Board, Changes, Times, in_work, number, overlap};
use super::signature;
use crate::error::{HealerError, Result};
use crate::heal::rules::COOLDOWN;

/// A change in work.
pub struct Draft<'d, 'c> {
    tx: &'d mut Tx<'c>,
    board: &'d Board,
    wall: TimestampMs,
    steady: u64,
    reopen_ms: u64,
    incidents: BTreeMap<u64, Incident>,
    times: HashMap<IncidentId, Times>,
    related: Vec<(IncidentId, String)>,
    gone: Vec<IncidentId>,
}

/// What became of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A new incident.
    Opened(IncidentId),
    /// A resolved one came back.
    Reopened(IncidentId),
    /// It belongs to one that is not over.
    Folded(IncidentId),
    /// Its target is being healed: it was noted there.
    Related(IncidentId),
}

impl Taken {
    /// The incident that it went to.
    #[must_use]
    pub fn incident(&self) -> &IncidentId {
        match self {
            Taken::Opened(id) | Taken::Reopened(id) | Taken::Folded(id) | Taken::Related(id) => id,
        }
    }
}

impl<'d, 'c> Draft<'d, 'c> {
    pub(super) fn new(
        tx: &'d mut Tx<'c>,
        board: &'d Board,
        wall: TimestampMs,
        steady: u64,
        reopen_ms: u64,
    ) -> Self {
        Self {
            tx,
            board,
            wall,
            steady,
            reopen_ms,
            incidents: BTreeMap::new(),
            times: HashMap::new(),
            related: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Lets go what the ledger need not keep, with what is remembered of the incidents in it.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn let_go(&mut self, keep: &Retention) -> Result<Option<Pruned>> {
        let pruned = self.tx.prune(keep, self.wall)?;
        if let Some(pruned) = &pruned {
            for id in &pruned.incidents {
                // What was done for it, by the operations of its runs.
                self.tx.forget(&format!("op:{id}/"))?;
            }
            self.tx.forget_below(COOLDOWN, keep.before)?;
            self.gone.extend(pruned.incidents.iter().cloned());
        }
        Ok(pruned)
    }

    /// The transaction, for what lies beside incidents.
    pub fn tx(&mut self) -> &mut Tx<'c> {
        self.tx
    }

    /// The time of this change, by the wall.
    #[must_use]
    pub fn wall(&self) -> TimestampMs {
        self.wall
    }

    /// An incident as this change sees it.
    #[must_use]
    pub fn get(&self, id: &IncidentId) -> Option<Incident> {
        self.incidents
            .get(&number(id))
            .or_else(|| self.board.get(id))
            .cloned()
    }

    /// Adds a ledger entry.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn entry(&mut self, kind: &str, id: &IncidentId, body: &impl Serialize) -> Result<()> {
        self.tx.append(kind, Some(id), self.wall, body)?;
        Ok(())
    }

    /// Takes in a finding about a target of `service`.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn take(&mut self, service: &str, detector: &str, finding: &Finding) -> Result<Taken> {
        let signature = signature(service, &finding.kind, &finding.cause);
        let known = self.latest(&signature, &finding.target);
        if let Some(mut incident) = known.clone()
            && incident.state != IncidentState::Resolved
        {
            incident.findings += 1;
            incident.last_seen_at = self.wall;
            let id = incident.id.clone();
            self.seen(&id);
            self.put(incident);
            return Ok(Taken::Folded(id));
        }
        if let Some(busy) = self.busy_with(&finding.target) {
            self.attach(&busy, &signature, detector, finding)?;
            return Ok(Taken::Related(busy.id));
        }
        match known.filter(|incident| self.comes_back(incident)) {
            Some(incident) => self.reopen(incident, detector, finding),
            None => self.open(signature, detector, finding),
        }
    }

    /// Opens an incident for `finding` without asking whether it is known.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn open(&mut self, signature: String, detector: &str, finding: &Finding) -> Result<Taken> {
        let next = self.board.next_number().max(
            self.incidents
                .last_key_value()
                .map_or(0, |(number, _)| number + 1),
        );
        // The counter outlives incidents that a damaged ledger lost: an id never means two.
        let mut counted = self.tx.next_number("incident")?;
        while counted < next {
            counted = self.tx.next_number("incident")?;
        }
        let id = IncidentId(format!("inc-{counted}"));
        let incident = Incident {
            id: id.clone(),
            signature,
            state: IncidentState::Open,
            target: finding.target.clone(),
            finding: finding.clone(),
            findings: 1,
            playbook: None,
            run: None,
            opened_at: self.wall,
            last_seen_at: self.wall,
            resolved_at: None,
            recurrences: 0,
        };
        self.times.insert(id.clone(), self.times_now());
        self.entry(
            "finding",
            &id,
            &json!({ "detector": detector, "finding": finding }),
        )?;
        self.entry(
            "incident",
            &id,
            &json!({ "to": "open", "signature": incident.signature, "target": incident.target,
                     "why": finding.summary, "duration_ms": 0 }),
        )?;
        self.put(incident);
        Ok(Taken::Opened(id))
    }

    /// Moves an incident along its life and writes the arrow, with the time that the state it
    /// leaves has lasted.
    ///
    /// # Errors
    /// [`HealerError::Transition`] when its life does not lead there.
    pub fn become_(&mut self, id: &IncidentId, to: IncidentState, why: &str) -> Result<Incident> {
        let Some(mut incident) = self.get(id) else {
            return Err(HealerError::Transition {
                id: id.0.clone(),
                from: "unknown",
                to: to.word(),
            });
        };
        let from = incident.state;
        if from == to {
            return Ok(incident);
        }
        if !from.may_become(to) {
            let id = id.0.clone();
            return Err(HealerError::Transition {
                id,
                from: from.word(),
                to: to.word(),
            });
        }
        let mut times = self.times_of(id);
        let duration_ms = self.steady.saturating_sub(times.state_ms);
        times.state_ms = self.steady;
        self.times.insert(id.clone(), times);
        incident.state = to;
        incident.resolved_at = to.at_rest().then_some(self.wall);
        self.entry(
            "incident",
            id,
            &json!({ "from": from.word(), "to": to.word(), "why": why, "duration_ms": duration_ms }),
        )?;
        self.put(incident.clone());
        Ok(incident)
    }

    /// Stores an incident whose fields (not its state) the caller changed.
    pub fn put(&mut self, incident: Incident) {
        self.incidents.insert(number(&incident.id), incident);
    }

    /// Stores the changed incidents and hands over what memory must learn.
    pub(super) fn into_changes(self) -> Result<Changes> {
        for incident in self.incidents.values() {
            self.tx.put_incident(incident)?;
        }
        Ok(Changes {
            incidents: self.incidents,
            times: self.times,
            related: self.related,
            gone: self.gone,
        })
    }

    fn latest(&self, signature: &str, target: &str) -> Option<Incident> {
        let here = self
            .incidents
            .values()
            .rev()
            .find(|incident| incident.signature == signature && incident.target == target);
        match here {
            Some(incident) => Some(incident.clone()),
            None => self.board.latest(signature, target).cloned(),
        }
    }

    /// The incident whose playbook has `target` in its hands, as this change sees it.
    #[must_use]
    pub fn busy_with(&self, target: &str) -> Option<Incident> {
        let here = self
            .incidents
            .values()
            .find(|incident| in_work(incident.state) && overlap(&incident.target, target));
        here.or_else(|| {
            self.board
                .busy_with(target)
                .filter(|incident| !self.incidents.contains_key(&number(&incident.id)))
        })
        .cloned()
    }

    fn comes_back(&self, incident: &Incident) -> bool {
        // In this process the steady clock knows; of earlier ones only the wall clock tells, and
        // a time in the future counts as just now.
        let ago = match self
            .times
            .get(&incident.id)
            .copied()
            .or(self.board.times(&incident.id))
        {
            Some(times) => self.steady.saturating_sub(times.state_ms),
            None => self.wall.saturating_sub(incident.resolved_at.unwrap_or(0)),
        };
        ago <= self.reopen_ms
    }

    fn reopen(&mut self, incident: Incident, detector: &str, finding: &Finding) -> Result<Taken> {
        let id = incident.id;
        self.entry(
            "finding",
            &id,
            &json!({ "detector": detector, "finding": finding }),
        )?;
        let mut incident = self.become_(&id, IncidentState::Open, "it came back")?;
        incident.recurrences += 1;
        incident.findings += 1;
        incident.finding = finding.clone();
        incident.last_seen_at = self.wall;
        self.times.insert(id.clone(), self.times_now());
        self.put(incident);
        Ok(Taken::Reopened(id))
    }

    fn attach(
        &mut self,
        busy: &Incident,
        signature: &str,
        detector: &str,
        finding: &Finding,
    ) -> Result<()> {
        let known = self.board.is_related(&busy.id, signature)
            || self
                .related
                .iter()
                .any(|(id, known)| *id == busy.id && known == signature);
        if !known {
            self.related.push((busy.id.clone(), signature.to_owned()));
            self.entry(
                "related",
                &busy.id,
                &json!({ "detector": detector, "signature": signature, "finding": finding }),
            )?;
        }
        Ok(())
    }

    fn seen(&mut self, id: &IncidentId) {
        let mut times = self.times_of(id);
        times.seen_ms = self.steady;
        self.times.insert(id.clone(), times);
    }

    fn times_of(&self, id: &IncidentId) -> Times {
        self.times
            .get(id)
            .copied()
            .or_else(|| self.board.times(id))
            .unwrap_or_else(|| self.times_now())
    }

    fn times_now(&self) -> Times {
        Times {
            opened_ms: self.steady,
            seen_ms: self.steady,
            state_ms: self.steady,
        }
    }
}
