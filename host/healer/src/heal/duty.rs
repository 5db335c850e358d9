//! The kernel `healer`: picks up runs that a crash left, starts playbooks for open incidents,
//! and sees that no incident is stuck.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use grace_ledger::Queries;
use grace_model::id::{IncidentId, PlaybookId, RunId};
use grace_model::incident::{Incident, IncidentState};
use grace_model::plugin::Severity;
use grace_plan::govern::{Book, Rule, Verdict};
use grace_plan::run::{Run, Stage};
use serde_json::json;

use super::Reach;
use super::crew::Crew;
use super::rules::{Choice, Decision, Facts, Freed, Timing, decide};
use super::shelf::Shelf;
use crate::error::{HealerError, Result};
use crate::govern::{Entered, Entry, OBSERVES, approved, enter, look_at};
use crate::kernel::Pulse;
use crate::reach::notify::Message;

/// While something is unresolved, time runs: this is how finely.
const BUSY: Duration = Duration::from_millis(100);
/// With nothing unresolved only a bell has news.
const IDLE: Duration = Duration::from_secs(1);
/// Between two tries when the ledger cannot be written.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The kernel's parts.
pub struct Duty {
    /// Everything that is reached.
    pub reach: Arc<Reach>,
    /// Playbooks.
    pub shelf: Arc<Shelf>,
    /// Threads of runs.
    pub crew: Arc<Crew>,
    /// Waiting times.
    pub timing: Timing,
    /// Whether playbooks run.
    pub playbooks: bool,
}

/// What the kernel remembers from round to round. A restart loses nothing that matters.
#[derive(Default)]
struct Memory {
    /// Targets whose playbook has ended.
    freed: HashMap<String, Freed>,
    /// What each story was last told about being held up.
    told: HashMap<IncidentId, (PlaybookId, &'static str)>,
}

/// A playbook that governance holds up.
struct Held {
    incident: IncidentId,
    playbook: PlaybookId,
    rule: &'static str,
    why: String,
}

impl Duty {
    /// The kernel's body.
    ///
    /// # Errors
    /// When the runs that a crash left cannot be read; it is started again.
    pub fn live(&self, pulse: &Pulse, bell: &Arc<dyn Fn() + Send + Sync>) -> Result<()> {
        self.pick_up(bell)?;
        let mut memory = Memory::default();
        while !pulse.stopping() {
            let rest = match self.round(pulse, &mut memory, bell) {
                Ok(true) => BUSY,
                Ok(false) => IDLE,
                Err(e) => {
                    tracing::error!(cause = %e, "incidents cannot be worked on now");
                    AFTER_ERROR
                }
            };
            pulse.rest(rest);
        }
        Ok(())
    }

    /// Whether time matters: something is unresolved.
    fn round(
        &self,
        pulse: &Pulse,
        memory: &mut Memory,
        bell: &Arc<dyn Fn() + Send + Sync>,
    ) -> Result<bool> {
        let freed = &mut memory.freed;
        freed.extend(self.crew.reap()?);
        if self.someone_is_left_behind() {
            self.pick_up(bell)?;
        }
        let desk = &self.reach.desk;
        let now_ms = self.reach.clock.steady_ms();
        freed.retain(|_, freed| now_ms.saturating_sub(freed.at_ms) < self.timing.escalate_ms);
        let room = self.crew.room();
        let held: RefCell<Vec<Held>> = RefCell::default();
        // A copy: the book is never locked while incidents are looked at.
        let book = self.reach.governor.look(Book::clone);
        let (waiting, decisions) = desk.look(|board| {
            let ready = |target: &str| self.reach.is_ready(target);
            let get = |id: &IncidentId| board.get(id).cloned();
            let choose = |incident: &Incident| self.choose(incident, &book, &get, &held);
            let approved = |id: &IncidentId| approved(&book, id).is_some();
            let flaps = |incident: &Incident| self.flaps(incident);
            let facts = Facts {
                now_ms,
                timing: self.timing,
                playbooks: self.playbooks,
                room,
                ready: &ready,
                choose: &choose,
                approved: &approved,
                flaps: &flaps,
                freed,
            };
            (board.unresolved().next().is_some(), decide(board, &facts))
        });
        memory.told.retain(|id, _| {
            desk.look(|board| {
                board
                    .get(id)
                    .is_some_and(|i| i.state != IncidentState::Resolved)
            })
        });
        for one in held.into_inner() {
            self.tell_held(one, &mut memory.told)?;
        }
        for decision in decisions {
            pulse.worked(1);
            self.carry_out(decision, bell)?;
        }
        Ok(waiting)
    }

    fn carry_out(&self, decision: Decision, bell: &Arc<dyn Fn() + Send + Sync>) -> Result<()> {
        let desk = &self.reach.desk;
        match decision {
            Decision::Run(id, playbook, why) => {
                let _until_a_thread_has_it = self.crew.hand_over();
                let entered = self.reach.governor.change(desk, |draft, book, now| {
                    let Some(incident) = draft.get(&id) else {
                        return Ok(None);
                    };
                    let entry = Entry {
                        incident: &id,
                        playbook: *playbook,
                        finding: incident.finding,
                        before: &[],
                        why: &why,
                        by_hand: false,
                    };
                    enter(&self.reach, draft, (book, now), entry).map(Some)
                });
                match entered {
                    // Somebody began one by hand meanwhile; this incident's turn comes.
                    Err(HealerError::Busy { .. }) | Ok(None) => {}
                    Ok(Some(Entered::Run(run))) => self.carry(*run, bell),
                    Ok(Some(Entered::Waits(_, message))) => {
                        if let Some(message) = message {
                            self.reach.herald.tell(*message);
                        }
                    }
                    Err(e) => return Err(e),
                }
            }
            Decision::Resolve(id, why) => {
                desk.change(|draft| draft.become_(&id, IncidentState::Resolved, &why))?;
            }
            Decision::Escalate(id, why) => {
                let incident =
                    desk.change(|draft| draft.become_(&id, IncidentState::Escalated, &why))?;
                self.tell_everybody(&incident, &why);
            }
        }
        Ok(())
    }

    /// The playbook for an incident, if governance lets it run now or has to ask about it. What
    /// it holds up is put into `held`.
    fn choose(
        &self,
        incident: &Incident,
        book: &Book,
        get: &dyn Fn(&IncidentId) -> Option<Incident>,
        held: &RefCell<Vec<Held>>,
    ) -> Choice {
        let approved = approved(book, &incident.id).and_then(|(id, by)| {
            let playbook = self.shelf.usable(&id).ok()?;
            Some((
                Box::new(playbook),
                format!("playbook {id}: approved by {by}"),
            ))
        });
        let (playbook, why) = match approved {
            Some(approved) => approved,
            None => match self.shelf.choose(incident, &self.reach) {
                Choice::Run(playbook, why) => (playbook, why),
                other => return other,
            },
        };
        let verdict = look_at(&self.reach, book, incident, &playbook, get);
        let (rule, why) = match verdict {
            Verdict::Go | Verdict::Ask(_) => return Choice::Run(playbook, why),
            Verdict::Pending(id) => return Choice::None(format!("{id} waits for an answer")),
            Verdict::Never(why) => {
                return Choice::Person(format!("playbook {} may not run: {why}", playbook.id));
            }
            Verdict::Observe => ("observe", OBSERVES.to_owned()),
            Verdict::Hold(rule, why) => (
                match rule {
                    Rule::KillSwitch => "kill-switch",
                    Rule::Freeze => "freeze",
                    Rule::Blast => "blast-radius",
                    Rule::Rate => "rate",
                },
                why,
            ),
        };
        held.borrow_mut().push(Held {
            incident: incident.id.clone(),
            playbook: playbook.id.clone(),
            rule,
            why: why.clone(),
        });
        Choice::None(format!("playbook {}: {why}", playbook.id))
    }

    /// Once for each rule that holds a playbook up, in the incident's story.
    fn tell_held(
        &self,
        held: Held,
        told: &mut HashMap<IncidentId, (PlaybookId, &'static str)>,
    ) -> Result<()> {
        let key = (held.playbook.clone(), held.rule);
        if told.get(&held.incident) == Some(&key) {
            return Ok(());
        }
        let body = json!({ "playbook": held.playbook, "rule": held.rule, "why": held.why });
        let desk = &self.reach.desk;
        desk.change(|draft| draft.entry("held", &held.incident, &body))?;
        tracing::info!(incident = %held.incident, playbook = %held.playbook, why = held.why, "a playbook is held up");
        told.insert(held.incident, key);
        Ok(())
    }

    /// Why an incident that came back is a person's now.
    fn flaps(&self, incident: &Incident) -> Option<String> {
        let governor = &self.reach.governor;
        let rules = &governor.rules;
        if incident.recurrences < u64::from(rules.flaps.max(1)) {
            return None;
        }
        let times = governor.came_back(&self.reach.desk, &incident.id);
        let times = times.unwrap_or_else(|e| {
            tracing::error!(incident = %incident.id, cause = %e, "how often it came back cannot be read");
            0
        });
        (times >= rules.flaps.max(1)).then(|| {
            format!(
                "it came back {times} times within {} s: what is done about it does not last",
                rules.flap_window_ms / 1_000
            )
        })
    }

    /// An incident in work that nobody works on: the machine gave no thread.
    fn someone_is_left_behind(&self) -> bool {
        let _nobody_begins_one_meanwhile = self.crew.hand_over();
        let in_work: Vec<IncidentId> = self.reach.desk.look(|board| {
            let in_work = board.unresolved().filter(|i| crate::desk::in_work(i.state));
            in_work.map(|i| i.id.clone()).collect()
        });
        in_work.iter().any(|id| !self.crew.carries(id))
    }

    fn carry(&self, run: Run, bell: &Arc<dyn Fn() + Send + Sync>) {
        let (id, bell) = (run.id.clone(), Arc::clone(bell));
        if let Err(e) = self.crew.carry(run, move || bell()) {
            // It is in the ledger: a later round picks it up.
            tracing::error!(run = %id, cause = %e, "no thread for a run");
        }
    }

    /// Runs that were not over when the process or this kernel ended, and incidents that
    /// nobody holds although their state says so.
    fn pick_up(&self, bell: &Arc<dyn Fn() + Send + Sync>) -> Result<()> {
        let desk = &self.reach.desk;
        let _nobody_begins_one_meanwhile = self.crew.hand_over();
        for stored in desk.ledger().runs_unfinished()? {
            if self.crew.carries(&stored.incident) {
                continue;
            }
            if !self.playbooks {
                let why = "healing was switched off while its playbook ran";
                self.close(&stored, why)?;
                continue;
            }
            match serde_json::from_value::<Run>(stored.json.clone()) {
                Ok(run) => self.resume(run, bell)?,
                Err(e) => {
                    self.close(
                        &stored,
                        &format!("run {} cannot be read back: {e}", stored.id),
                    )?;
                }
            }
        }
        let held: Vec<IncidentId> = desk
            .ledger()
            .runs_unfinished()?
            .into_iter()
            .map(|run| run.incident)
            .collect();
        let forgotten: Vec<IncidentId> = desk.look(|board| {
            let in_work = board
                .unresolved()
                .filter(|i| crate::desk::in_work(i.state) && !held.contains(&i.id));
            in_work.map(|i| i.id.clone()).collect()
        });
        for id in forgotten {
            desk.change(|draft| escalate(draft, &id, "its run is not in the ledger any more"))?;
        }
        Ok(())
    }

    /// A run that does not go on: its incident is a person's.
    fn close(&self, stored: &grace_ledger::Run, why: &str) -> Result<()> {
        self.reach.desk.change(|draft| {
            let body = json!({ "run": stored.id, "end": { "end": "failed", "reason": why } });
            draft.entry("run-ended", &stored.incident, &body)?;
            draft
                .tx()
                .put_run(&stored.id, &stored.incident, true, &stored.json)?;
            escalate(draft, &stored.incident, why)
        })
    }

    fn resume(&self, mut run: Run, bell: &Arc<dyn Fn() + Send + Sync>) -> Result<()> {
        run.rebase(self.reach.clock.steady_ms());
        if !self.shelf.knows(&run.playbook.id) && !matches!(run.stage, Stage::Failing { .. }) {
            run.abort(format!(
                "playbook {} was removed while it ran",
                run.playbook.id
            ));
        }
        let RunId(id) = &run.id;
        let pending = run.pending.as_ref().map(|call| call.key.clone());
        self.reach.desk.change(|draft| {
            let body = json!({ "run": id, "step": pending,
                               "text": "the healer was restarted; the run goes on" });
            draft.entry("run-resumed", &run.incident, &body)?;
            Ok(draft.tx().put_run(&run.id, &run.incident, false, &run)?)
        })?;
        self.carry(run, bell);
        Ok(())
    }

    /// No playbook named a channel, so everyone who can be told is told.
    fn tell_everybody(&self, incident: &Incident, why: &str) {
        let message = Message {
            id: format!("{}/escalated/{}", incident.id, incident.recurrences),
            at: self.reach.clock.wall_ms(),
            incident: Some(incident.id.0.clone()),
            severity: incident.finding.severity.max(Severity::Major),
            subject: format!("{}: {} needs a person", incident.id, incident.target),
            text: format!("{}; {why}", incident.finding.summary),
        };
        self.reach.herald.tell(message);
    }
}

fn escalate(draft: &mut crate::desk::Draft<'_, '_>, id: &IncidentId, why: &str) -> Result<()> {
    if draft
        .get(id)
        .is_some_and(|incident| !incident.state.at_rest())
    {
        draft.become_(id, IncidentState::Escalated, why)?;
    }
    Ok(())
}
