//! The kernel `healer`: picks up runs that a crash left, starts playbooks for open incidents,
//! and sees that no incident is stuck.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use grace_ledger::Queries;
use grace_model::id::{IncidentId, RunId};
use grace_model::incident::{Incident, IncidentState};
use grace_model::plugin::Severity;
use grace_plan::run::{Run, Stage};
use serde_json::json;

use super::Reach;
use super::crew::Crew;
use super::rules::{Decision, Facts, Freed, Timing, decide};
use super::runner::begin;
use super::shelf::Shelf;
use crate::error::{HealerError, Result};
use crate::kernel::Pulse;
use crate::reach::notify::{self, Message};

/// While something is unresolved, time runs: this is how finely.
const BUSY: Duration = Duration::from_millis(100);
/// With nothing unresolved only a bell has news.
const IDLE: Duration = Duration::from_secs(1);
/// Between two tries when the ledger cannot be written.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// A message about an escalation takes no longer than this.
const TELL_LIMIT: Duration = Duration::from_secs(10);

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

impl Duty {
    /// The kernel's body.
    ///
    /// # Errors
    /// When the runs that a crash left cannot be read; it is started again.
    pub fn live(&self, pulse: &Pulse, bell: &Arc<dyn Fn() + Send + Sync>) -> Result<()> {
        self.pick_up(bell)?;
        let mut freed: HashMap<String, Freed> = HashMap::new();
        while !pulse.stopping() {
            let rest = match self.round(pulse, &mut freed, bell) {
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
        freed: &mut HashMap<String, Freed>,
        bell: &Arc<dyn Fn() + Send + Sync>,
    ) -> Result<bool> {
        freed.extend(self.crew.reap()?);
        if self.someone_is_left_behind() {
            self.pick_up(bell)?;
        }
        let desk = &self.reach.desk;
        let now_ms = self.reach.clock.steady_ms();
        freed.retain(|_, freed| now_ms.saturating_sub(freed.at_ms) < self.timing.escalate_ms);
        let room = self.crew.room();
        let (waiting, decisions) = desk.look(|board| {
            let ready = |target: &str| self.reach.is_ready(target);
            let choose = |incident: &Incident| self.shelf.choose(incident, &self.reach);
            let facts = Facts {
                now_ms,
                timing: self.timing,
                playbooks: self.playbooks,
                room,
                ready: &ready,
                choose: &choose,
                freed,
            };
            (board.unresolved().next().is_some(), decide(board, &facts))
        });
        for decision in decisions {
            pulse.worked(1);
            self.carry_out(decision, now_ms, bell)?;
        }
        Ok(waiting)
    }

    fn carry_out(
        &self,
        decision: Decision,
        now_ms: u64,
        bell: &Arc<dyn Fn() + Send + Sync>,
    ) -> Result<()> {
        let desk = &self.reach.desk;
        match decision {
            Decision::Run(id, playbook, why) => {
                let _until_a_thread_has_it = self.crew.hand_over();
                let run = desk.change(|draft| {
                    let Some(incident) = draft.get(&id) else {
                        return Ok(None);
                    };
                    let finding = incident.finding;
                    begin(draft, &id, (*playbook).clone(), finding, &[], now_ms, &why).map(Some)
                });
                // Somebody began one by hand meanwhile; this incident's turn comes.
                let run = match run {
                    Err(HealerError::Busy { .. }) => None,
                    run => run?,
                };
                if let Some(run) = run {
                    self.carry(run, bell);
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
        let mut names: Vec<String> = self.reach.channels.keys().cloned().collect();
        if !names.iter().any(|name| name == notify::LOG) {
            names.push(notify::LOG.to_owned());
        }
        let channels = self.reach.channels.clone();
        // A program that hangs must not hold up the healing of everything else.
        let told = std::thread::Builder::new()
            .name("tell".to_owned())
            .spawn(move || {
                for name in names {
                    if let Err(e) = notify::send(&channels, &name, &message, TELL_LIMIT) {
                        tracing::error!(channel = name, cause = %e, "an escalation was not told");
                    }
                }
            });
        if let Err(e) = told {
            tracing::error!(incident = %incident.id, cause = %e, "an escalation was not told");
        }
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
