//! The gate before every run: whoever starts one, it is judged in the transaction that would
//! begin it.

use grace_model::config::Service;
use grace_model::govern::{Answer, Approval, Lock, Moment, Need, Spent};
use grace_model::id::{IncidentId, PlaybookId, RunId};
use grace_model::incident::Incident;
use grace_model::playbook::Playbook;
use grace_model::plugin::Finding;
use grace_plan::govern::{Book, Case, Verdict, judge, needs};
use grace_plan::run::Run;
use serde_json::json;

use super::Governor;
use crate::desk::{Draft, in_work};
use crate::error::Result;
use crate::heal::Reach;
use crate::heal::runner::{begin, is_free};
use crate::reach::notify::Message;

/// A run that wants to begin.
pub struct Entry<'e> {
    /// For which incident.
    pub incident: &'e IncidentId,
    /// Which playbook.
    pub playbook: Playbook,
    /// About what.
    pub finding: Finding,
    /// Playbooks that failed before it.
    pub before: &'e [PlaybookId],
    /// For the record.
    pub why: &'e str,
    /// A person started it.
    pub by_hand: bool,
}

/// What came of it.
pub enum Entered {
    /// It began.
    Run(Box<Run>),
    /// It did not, and why. People are to be told when there is a message.
    Waits(String, Option<Box<Message>>),
}

/// Judges a run and begins it when it may. What it costs, holds and was approved by is in the
/// book with the same write.
///
/// # Errors
/// As [`begin`].
pub fn enter(
    reach: &Reach,
    draft: &mut Draft<'_, '_>,
    (book, now): (&mut Book, &Moment),
    entry: Entry<'_>,
) -> Result<Entered> {
    // Who holds the target is told before any rule: it is what to wait for.
    is_free(draft, &entry.finding.target, entry.incident)?;
    let rules = &reach.governor.rules;
    let facts = Facts::of(reach, &entry.playbook, &entry.finding);
    let verdict = {
        let get = |id: &IncidentId| draft.get(id);
        facts.judge(reach, book, entry.incident, entry.by_hand, now, &get)
    };
    let incident = entry.incident;
    match verdict {
        Verdict::Go => {
            let target = entry.finding.target.clone();
            let run = begin(
                draft,
                incident,
                entry.playbook,
                entry.finding,
                entry.before,
                now.steady,
                entry.why,
            )?;
            if !facts.needs.is_empty() {
                let get = |spent: &Spent| is_held(spent, &|id| draft.get(id));
                book.tidy(rules, now, &get);
                let spent = Spent {
                    run: run.id.clone(),
                    target,
                    service: facts.service,
                    actions: Book::price(&facts.needs),
                    at: now.clone(),
                };
                // By hand no answer was needed, so none is used up.
                let digest = if entry.by_hand { "" } else { &facts.digest };
                book.begin(spent, incident, digest);
            }
            Ok(Entered::Run(Box::new(run)))
        }
        Verdict::Ask(risky) => {
            let playbook = (&entry.playbook.id, facts.digest.as_str());
            let target = &entry.finding.target;
            let asked = match book.ask(incident, target, playbook, risky, now) {
                Ok(asked) => asked,
                Err(full) => return Ok(Entered::Waits(full, None)),
            };
            draft.entry(
                "approval-asked",
                incident,
                &json!({ "approval": asked.id, "playbook": asked.playbook,
                         "actions": asked.actions, "why": entry.why }),
            )?;
            let message = question(&asked, &entry.finding, now);
            Ok(Entered::Waits(
                waits_for(&asked.id),
                Some(Box::new(message)),
            ))
        }
        Verdict::Pending(id) => Ok(Entered::Waits(waits_for(&id), None)),
        Verdict::Observe => Ok(Entered::Waits(OBSERVES.to_owned(), None)),
        Verdict::Hold(_, why) | Verdict::Never(why) => Ok(Entered::Waits(why, None)),
    }
}

/// The verdict that a run of `playbook` for `incident` would meet by `book`; `get` is how
/// incidents stand. It takes no lock, so that it may be asked while incidents are looked at.
#[must_use]
pub fn look_at(
    reach: &Reach,
    book: &Book,
    incident: &Incident,
    playbook: &Playbook,
    get: &dyn Fn(&IncidentId) -> Option<Incident>,
) -> Verdict {
    let facts = Facts::of(reach, playbook, &incident.finding);
    let now = reach.governor.now();
    facts.judge(reach, book, &incident.id, false, &now, get)
}

/// The playbook that somebody said yes to for this incident, and who.
#[must_use]
pub fn approved(book: &Book, incident: &IncidentId) -> Option<(PlaybookId, String)> {
    let last = book
        .approvals
        .iter()
        .rfind(|one| one.incident == *incident)?;
    let by = last.answered.as_ref().map_or("somebody", |given| &given.by);
    (last.answer == Answer::Approved).then(|| (last.playbook.clone(), by.to_owned()))
}

/// Why nothing happens in mode observe.
pub const OBSERVES: &str = "the mode is observe: it would run";

fn waits_for(id: &str) -> String {
    format!("it waits for an answer: `grace approve {id}` or `grace deny {id}`")
}

/// What a judgement needs to know of a playbook.
struct Facts {
    service: String,
    needs: Vec<Need>,
    digest: String,
}

impl Facts {
    fn of(reach: &Reach, playbook: &Playbook, finding: &Finding) -> Self {
        let text = serde_json::to_vec(playbook).unwrap_or_default();
        Self {
            service: reach.service_of(&finding.target),
            needs: needs(playbook, finding.severity, &reach.plugins.actions()),
            digest: blake3::hash(&text).to_hex().to_string(),
        }
    }

    fn judge(
        &self,
        reach: &Reach,
        book: &Book,
        incident: &IncidentId,
        by_hand: bool,
        now: &Moment,
        get: &dyn Fn(&IncidentId) -> Option<Incident>,
    ) -> Verdict {
        let declared: Option<&Service> = reach
            .services
            .iter()
            .find(|service| service.name.as_str() == self.service);
        let in_hand = book
            .spent
            .iter()
            .filter(|spent| spent.service == self.service)
            // A playbook that follows a failed one has the same instance in hand.
            .filter(|spent| incident_of(&spent.run).as_ref() != Some(incident))
            .filter(|spent| is_held(spent, get))
            .count();
        let case = Case {
            incident,
            service: &self.service,
            instances: reach.instances_of(&self.service),
            needs: &self.needs,
            digest: &self.digest,
            allow: declared.map_or(&[], |service| &service.allow),
            in_hand: u32::try_from(in_hand).unwrap_or(u32::MAX),
            by_hand,
            now,
        };
        judge(book, &reach.governor.rules, &case)
    }
}

/// Whether a run is not over.
fn is_held(spent: &Spent, get: &dyn Fn(&IncidentId) -> Option<Incident>) -> bool {
    incident_of(&spent.run)
        .and_then(|id| get(&id))
        .is_some_and(|it| in_work(it.state) && it.run.as_ref() == Some(&spent.run))
}

/// The INCIDENT of `INCIDENT/N`.
fn incident_of(run: &RunId) -> Option<IncidentId> {
    let (incident, _) = run.as_str().rsplit_once('/')?;
    Some(IncidentId::from(incident))
}

fn question(asked: &Approval, finding: &Finding, now: &Moment) -> Message {
    let actions: Vec<&str> = asked
        .actions
        .iter()
        .map(|need| need.action.as_str())
        .collect();
    Message {
        id: format!("{}/{}", asked.incident, asked.id),
        at: now.wall,
        incident: Some(asked.incident.0.clone()),
        severity: finding.severity,
        subject: format!(
            "{}: may {} do {}?",
            asked.incident,
            asked.playbook,
            actions.join(", ")
        ),
        text: format!(
            "{}; `grace approve {id}` lets it, `grace deny {id}` does not",
            finding.summary,
            id = asked.id
        ),
    }
}

impl Governor {
    /// Who holds which target.
    #[must_use]
    pub fn locks<'i>(incidents: impl Iterator<Item = &'i Incident>) -> Vec<Lock> {
        incidents
            .filter(|incident| in_work(incident.state))
            .map(|incident| Lock {
                target: incident.target.clone(),
                incident: incident.id.clone(),
                playbook: incident.playbook.clone(),
                run: incident.run.clone(),
            })
            .collect()
    }
}
