//! Carries one run of a playbook to its end. What to do next the run itself says; here it is
//! journalled, done and journalled again. Killed at any point, the run goes on from the ledger
//! with the same operation ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grace_ledger::Queries;
use grace_model::id::{IncidentId, OpId, PlaybookId, RunId};
use grace_model::incident::IncidentState;
use grace_model::playbook::Playbook;
use grace_model::plugin::{ActionCall, Finding, PluginError, Receipt};
use grace_model::port::{CallFailure, HostCall, HostPort};
use grace_plan::run::{Call, Effect, End, Next, Note, Outcome, Run, Stage};
use serde_json::json;

use super::Reach;
use super::port::CallPort;
use super::rules::cooldown_key;
use super::shelf::Shelf;
use crate::desk::Draft;
use crate::error::{HealerError, Result};
use crate::govern::{Entered, Entry, enter};

/// Between two tries to write a ledger that cannot be written (a full disk).
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// Longest sleep before looking whether the healer ends.
const SLICE: Duration = Duration::from_millis(50);

/// What a runner needs.
pub struct Runner {
    /// Everything that is reached.
    pub reach: Arc<Reach>,
    /// For the next playbook when one fails.
    pub shelf: Arc<Shelf>,
    /// The healer ends; the run goes on in the next one.
    pub stop: Arc<AtomicBool>,
}

/// The next run of an incident, stored with the arrows that lead to it. The caller's change
/// writes all of it or nothing.
///
/// # Errors
/// [`HealerError::Busy`] when another run holds the target; what the ledger says.
pub fn begin(
    draft: &mut Draft<'_, '_>,
    incident: &IncidentId,
    playbook: Playbook,
    finding: Finding,
    before: &[PlaybookId],
    steady_ms: u64,
    why: &str,
) -> Result<Run> {
    // Asked here, where nobody can begin another in between.
    is_free(draft, &finding.target, incident)?;
    draft.become_(incident, IncidentState::Diagnosing, why)?;
    let number = draft.tx().runs_of(incident)?.len() + 1;
    let id = RunId(format!("{incident}/{number}"));
    draft.entry(
        "run-started",
        incident,
        &json!({ "run": id, "playbook": playbook.id, "version": playbook.version, "why": why }),
    )?;
    let mut changed = draft.become_(incident, IncidentState::Healing, "the playbook runs")?;
    let signature = changed.signature.clone();
    changed.playbook = Some(playbook.id.clone());
    changed.run = Some(id.clone());
    draft.put(changed);
    let run = Run::new(
        id,
        (incident, &signature),
        playbook,
        finding,
        before,
        steady_ms,
    );
    draft.tx().put_run(&run.id, incident, false, &run)?;
    Ok(run)
}

/// Whether no other incident's run holds `target`.
///
/// # Errors
/// [`HealerError::Busy`] with its owner.
pub fn is_free(draft: &Draft<'_, '_>, target: &str, incident: &IncidentId) -> Result<()> {
    match draft.busy_with(target).filter(|b| b.id != *incident) {
        None => Ok(()),
        Some(busy) => Err(HealerError::Busy {
            target: busy.target,
            by: busy.id.0,
        }),
    }
}

impl Runner {
    /// Runs until the end, or until the healer ends.
    pub fn to_the_end(&self, mut run: Run) {
        tracing::info!(run = %run.id, playbook = %run.playbook.id, "a playbook runs");
        loop {
            let again = run.pending.is_some();
            match run.next(self.reach.clock.steady_ms()) {
                Next::Call(call) => {
                    // Messages go on: whoever threw the switch wants to know what it stopped.
                    if !matches!(call.effect, Effect::Tell { .. })
                        && let Some(why) = self.reach.governor.killed()
                    {
                        if !again {
                            run.pending = None;
                        }
                        run.halt(&why);
                        continue;
                    }
                    if !again && self.write(|| self.journal_start(&run, &call)).is_none() {
                        return;
                    }
                    run.notes.clear();
                    let began = self.reach.clock.steady_ms();
                    let Some(outcome) = self.perform(&run, &call) else {
                        return;
                    };
                    let took_ms = self.reach.clock.steady_ms().saturating_sub(began);
                    let seen = outcome.clone();
                    run.finish(outcome, self.reach.clock.steady_ms());
                    let done = || self.journal_done(&run, &call, &seen, took_ms);
                    if self.write(done).is_none() {
                        return;
                    }
                    run.notes.clear();
                }
                Next::Wait { until_ms } => {
                    if !run.notes.is_empty() && self.write(|| self.journal_notes(&run)).is_none() {
                        return;
                    }
                    run.notes.clear();
                    if !self.wait_until(until_ms) {
                        return;
                    }
                }
                Next::Ended(end) => match self.write(|| self.journal_end(&run, &end)) {
                    Some(Some(next)) => run = next,
                    _ => return,
                },
            }
        }
    }

    /// None: the healer ends. A transition that life forbids is a fault of this program; the run
    /// must not spin on it.
    fn write<T>(&self, work: impl Fn() -> Result<T>) -> Option<T> {
        loop {
            match work() {
                Ok(done) => return Some(done),
                Err(e @ HealerError::Transition { .. }) => {
                    tracing::error!(cause = %e, "a run cannot go on");
                    return None;
                }
                Err(e) => tracing::error!(cause = %e, "the ledger cannot be written; a run waits"),
            }
            let until = self.reach.clock.steady_ms()
                + u64::try_from(WRITE_AGAIN.as_millis()).unwrap_or(u64::MAX);
            if !self.wait_until(until) {
                return None;
            }
        }
    }

    fn wait_until(&self, until_ms: u64) -> bool {
        loop {
            if self.stop.load(Ordering::Acquire) {
                return false;
            }
            let left = until_ms.saturating_sub(self.reach.clock.steady_ms());
            if left == 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(left).min(SLICE));
        }
    }

    fn journal_start(&self, run: &Run, call: &Call) -> Result<()> {
        self.reach.desk.change(|draft| {
            notes(draft, run)?;
            if run.stage == Stage::Verify {
                draft.become_(
                    &run.incident,
                    IncidentState::Verifying,
                    "the steps are done",
                )?;
            }
            let (what, action, params) = match &call.effect {
                Effect::Act { action, params } => ("run", action.as_str(), json!(params)),
                Effect::Undo { action, .. } => ("undo", action.as_str(), json!({})),
                Effect::Settle { target } => ("settle", "", json!({ "target": target })),
                Effect::Tell { channel, text } => {
                    ("tell", "", json!({ "channel": channel, "text": text }))
                }
            };
            let body = json!({ "run": run.id, "step": call.key, "attempt": call.attempt,
                               "what": what, "action": action, "params": params,
                               "timeout_ms": call.timeout_ms,
                               "op": OpId::of_step(&run.id, &call.key, call.attempt, 0) });
            draft.entry("step-started", &run.incident, &body)?;
            put(draft, run, false)
        })
    }

    fn journal_done(&self, run: &Run, call: &Call, outcome: &Outcome, took_ms: u64) -> Result<()> {
        self.reach.desk.change(|draft| {
            match outcome {
                Outcome::Done(receipt) => {
                    let body = json!({ "run": run.id, "step": call.key, "attempt": call.attempt,
                        "changed": receipt.changed, "summary": receipt.summary,
                        "outputs": receipt.outputs, "undo": !receipt.undo.is_empty(),
                        "duration_ms": took_ms });
                    draft.entry("step-done", &run.incident, &body)?;
                }
                Outcome::Failed { reason, .. } => {
                    let body = json!({ "run": run.id, "step": call.key, "attempt": call.attempt,
                        "reason": reason, "duration_ms": took_ms });
                    draft.entry("step-failed", &run.incident, &body)?;
                }
            }
            notes(draft, run)?;
            put(draft, run, false)
        })
    }

    fn journal_notes(&self, run: &Run) -> Result<()> {
        self.reach.desk.change(|draft| {
            notes(draft, run)?;
            put(draft, run, false)
        })
    }

    /// Answers with the run that follows, when another playbook is to be tried.
    fn journal_end(&self, run: &Run, end: &End) -> Result<Option<Run>> {
        let steady = self.reach.clock.steady_ms();
        let boot = self.reach.clock.boot();
        let governor = &self.reach.governor;
        let (next, message) = governor.change(&self.reach.desk, |draft, book, now| {
            notes(draft, run)?;
            let duration_ms = steady.saturating_sub(run.begun_ms);
            let body = json!({ "run": run.id, "playbook": run.playbook.id, "end": end,
                               "left_behind": run.left_behind, "duration_ms": duration_ms });
            draft.entry("run-ended", &run.incident, &body)?;
            put(draft, run, true)?;
            let wall = draft.wall();
            draft.tx().put(&cooldown_key(run), &(wall, steady, &boot))?;
            match end {
                End::Succeeded => {
                    // A run whose last check was skipped by its own condition passes through too.
                    draft.become_(
                        &run.incident,
                        IncidentState::Verifying,
                        "the steps are done",
                    )?;
                    let why = format!("playbook {} verified its effect", run.playbook.id);
                    draft.become_(&run.incident, IncidentState::Resolved, &why)?;
                    Ok((None, None))
                }
                End::Failed { reason } => {
                    draft.become_(&run.incident, IncidentState::Escalated, reason)?;
                    self.open_related(draft, run)?;
                    Ok((None, None))
                }
                End::Fallback { playbook, reason } => match self.shelf.usable(playbook) {
                    Ok(next) => {
                        let why = format!("{} failed: {reason}", run.playbook.id);
                        let entry = Entry {
                            incident: &run.incident,
                            playbook: next,
                            finding: run.finding.clone(),
                            before: &run.chain,
                            why: &why,
                            by_hand: false,
                        };
                        match enter(&self.reach, draft, (book, now), entry)? {
                            Entered::Run(next) => Ok((Some(*next), None)),
                            Entered::Waits(waits, message) => {
                                let why = format!("{why}; playbook {playbook}: {waits}");
                                draft.become_(&run.incident, IncidentState::Escalated, &why)?;
                                self.open_related(draft, run)?;
                                Ok((None, message))
                            }
                        }
                    }
                    Err(problem) => {
                        let why =
                            format!("{reason}; and playbook {playbook} cannot run: {problem}");
                        draft.become_(&run.incident, IncidentState::Escalated, &why)?;
                        self.open_related(draft, run)?;
                        Ok((None, None))
                    }
                },
            }
        })?;
        if let Some(message) = message {
            self.reach.herald.tell(*message);
        }
        self.shelf.ended(run, *end == End::Succeeded, steady);
        let (run, playbook) = (&run.id, &run.playbook.id);
        tracing::info!(%run, %playbook, ?end, "a playbook ended");
        Ok(next)
    }

    /// What was found beside the incident while its run held the target was taken for a part of
    /// it. The run has failed, so it may be what is really wrong: each gets its own incident,
    /// also one that is found only once.
    fn open_related(&self, draft: &mut Draft<'_, '_>, run: &Run) -> Result<()> {
        let entries = draft.tx().entries_of(&run.incident)?;
        let of_this = entries
            .rsplit(|entry| entry.kind == "run-started")
            .next()
            .unwrap_or(&[]);
        for entry in of_this.iter().filter(|entry| entry.kind == "related") {
            let body = &entry.body;
            let finding = body.get("finding").cloned().unwrap_or_default();
            let Ok(finding) = serde_json::from_value::<Finding>(finding) else {
                continue;
            };
            let detector = body
                .get("detector")
                .and_then(|d| d.as_str())
                .unwrap_or_default();
            let service = self.reach.service_of(&finding.target);
            draft.take(&service, detector, &finding)?;
        }
        Ok(())
    }

    /// None: the healer ends before the outcome is known.
    fn perform(&self, run: &Run, call: &Call) -> Option<Outcome> {
        let port = || {
            CallPort::of_step(
                Arc::clone(&self.reach),
                run.incident.clone(),
                run.id.clone(),
                call.key.clone(),
                call.attempt,
            )
        };
        let limit = Duration::from_millis(call.timeout_ms);
        Some(match &call.effect {
            Effect::Act { action, params } => {
                let params = match self.shelf.fields(action, params) {
                    Ok(params) => params,
                    Err(reason) => {
                        return Some(Outcome::Failed {
                            reason,
                            retry: false,
                        });
                    }
                };
                let incident = run.incident.0.clone();
                let call = ActionCall {
                    action: action.clone(),
                    params,
                    incident,
                };
                match self.reach.plugins.run(&call, Box::new(port()), limit) {
                    Ok(receipt) => Outcome::Done(receipt),
                    Err(failure) => failed(&failure),
                }
            }
            Effect::Undo { action, receipt } => {
                match self
                    .reach
                    .plugins
                    .undo(action, receipt, Box::new(port()), limit)
                {
                    Ok(()) => Outcome::Done(plain(true, "taken back")),
                    Err(failure) => failed(&failure),
                }
            }
            Effect::Settle { target } => self.settle(target, call.timeout_ms)?,
            Effect::Tell { channel, text } => self.tell(run, channel, text, &mut port(), limit),
        })
    }

    fn settle(&self, target: &str, limit_ms: u64) -> Option<Outcome> {
        let end = self.reach.clock.steady_ms().saturating_add(limit_ms);
        loop {
            self.reach.refresh_fleet();
            if self.reach.is_ready(target) {
                return Some(Outcome::Done(plain(false, &format!("{target} is ready"))));
            }
            let now = self.reach.clock.steady_ms();
            if now >= end {
                let reason = format!("{target} is not ready after {limit_ms} ms");
                return Some(Outcome::Failed {
                    reason,
                    retry: false,
                });
            }
            if !self.wait_until(now.saturating_add(100).min(end)) {
                return None;
            }
        }
    }

    fn tell(
        &self,
        run: &Run,
        channel: &str,
        text: &str,
        port: &mut CallPort,
        limit: Duration,
    ) -> Outcome {
        let message = |channel: &str| HostCall::Notify {
            channel: channel.to_owned(),
            severity: run.finding.severity,
            subject: format!("{}: {} needs a person", run.incident, run.finding.target),
            text: format!(
                "{}; playbook {}: {text}",
                run.finding.summary, run.playbook.id
            ),
        };
        match port.call(message(channel), limit) {
            Ok(_) => Outcome::Done(plain(true, &format!("told {channel}"))),
            Err(e) => {
                // Whoever cannot be told must at least be found in the log.
                let told_log = port.call(message(crate::reach::notify::LOG), limit).is_ok();
                let reason = format!("{e}; in the log instead: {told_log}");
                Outcome::Failed {
                    reason,
                    retry: self.reach.channels.contains_key(channel),
                }
            }
        }
    }
}

fn put(draft: &mut Draft<'_, '_>, run: &Run, finished: bool) -> Result<()> {
    let mut stored = run.clone();
    // They are in the story now.
    stored.notes.clear();
    Ok(draft
        .tx()
        .put_run(&run.id, &run.incident, finished, &stored)?)
}

fn notes(draft: &mut Draft<'_, '_>, run: &Run) -> Result<()> {
    for Note { step, kind, text } in &run.notes {
        let kind = if step.is_empty() {
            format!("run-{kind}")
        } else {
            format!("step-{kind}")
        };
        draft.entry(
            &kind,
            &run.incident,
            &json!({ "run": run.id, "step": step, "text": text }),
        )?;
    }
    Ok(())
}

fn plain(changed: bool, summary: &str) -> Receipt {
    Receipt {
        changed,
        summary: summary.to_owned(),
        outputs: Vec::new(),
        undo: Vec::new(),
    }
}

fn failed(failure: &CallFailure) -> Outcome {
    let retry = !matches!(
        failure,
        CallFailure::Plugin(
            PluginError::InvalidInput(_) | PluginError::Denied(_) | PluginError::NotApplicable(_)
        )
    );
    Outcome::Failed {
        reason: failure.to_string(),
        retry,
    }
}
