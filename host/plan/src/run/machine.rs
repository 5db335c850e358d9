//! How a run goes on. Every function here is total and ends: lists are finite, tries are
//! counted, frames only nest as deep as the playbook's text does.

use std::collections::BTreeMap;

use grace_model::id::{IncidentId, PlaybookId, RunId};
use grace_model::playbook::{OnFailure, Playbook, Step, StepFailure};
use grace_model::plugin::Finding;

use super::scope::{outcome, outputs_of};
use super::{
    BACKOFF_MAX_MS, Call, Done, Effect, End, Frame, FrameKind, Item, Next, Note, Outcome, Run,
    Stage, condition_holds, filled, undo_item,
};

impl Run {
    /// A run that has not begun. `before`: playbooks that already failed for this incident.
    #[must_use]
    pub fn new(
        id: RunId,
        incident: (&IncidentId, &str),
        playbook: Playbook,
        finding: Finding,
        before: &[PlaybookId],
        now_ms: u64,
    ) -> Self {
        let (incident, signature) = incident;
        let steps = playbook
            .branches
            .get(&finding.severity)
            .unwrap_or(&playbook.steps)
            .clone();
        let mut chain = before.to_vec();
        chain.push(playbook.id.clone());
        let mut run = Self {
            id,
            incident: incident.clone(),
            playbook,
            finding,
            signature: signature.to_owned(),
            begun_ms: now_ms,
            seen_ms: now_ms,
            stage: Stage::Steps,
            pending: None,
            done: Vec::new(),
            outputs: BTreeMap::new(),
            failure: None,
            left_behind: Vec::new(),
            chain,
            notes: Vec::new(),
            stack: Vec::new(),
            stop: None,
            told: false,
        };
        run.push(
            steps.into_iter().map(|step| Item::Step { step }).collect(),
            FrameKind::Steps,
        );
        run
    }

    /// The next thing to do. While a call is pending it is that call, again.
    pub fn next(&mut self, now_ms: u64) -> Next {
        self.seen_ms = now_ms;
        loop {
            if let Some(call) = &self.pending {
                return Next::Call(call.clone());
            }
            if let Stage::Ended { end } = &self.stage {
                return Next::Ended(end.clone());
            }
            if let Some(reason) = self.must_stop(now_ms) {
                self.fail(reason);
                continue;
            }
            let Some(frame) = self.stack.last() else {
                self.stage_finished();
                continue;
            };
            let Some(item) = frame.items.get(frame.at).cloned() else {
                self.stack.pop();
                if self.stack.is_empty() {
                    self.stage_finished();
                } else {
                    self.advance();
                }
                continue;
            };
            let key = format!("{}{}", frame.prefix, item.id());
            if frame.acted {
                self.check_or_advance(&item, &key);
                continue;
            }
            if frame.not_before_ms > now_ms {
                return Next::Wait {
                    until_ms: frame.not_before_ms,
                };
            }
            let attempt = frame.attempt;
            match self.effect_of(&item) {
                Ok(Some(effect)) => {
                    let call = Call {
                        key,
                        attempt,
                        timeout_ms: self.time_for(&item, now_ms),
                        effect,
                    };
                    self.pending = Some(call);
                }
                Ok(None) => {
                    let text = match &item {
                        Item::Step { step } => step
                            .condition
                            .as_ref()
                            .map_or_else(String::new, |c| format!("`if: {}` does not hold", c.0)),
                        _ => String::new(),
                    };
                    self.outputs
                        .insert(item.id().to_owned(), outcome(false, false, &text));
                    self.note(&key, "skipped", text);
                    self.advance();
                }
                Err(reason) => self.item_failed(reason, false, now_ms),
            }
        }
    }

    /// Tells what came of the pending call.
    pub fn finish(&mut self, outcome: Outcome, now_ms: u64) {
        self.seen_ms = now_ms;
        let Some(call) = self.pending.take() else {
            return;
        };
        match outcome {
            Outcome::Done(receipt) => {
                let item = self.stack.last().and_then(|f| f.items.get(f.at)).cloned();
                if let Some(Item::Step { step }) = item {
                    self.outputs.insert(step.id.clone(), outputs_of(&receipt));
                    if !matches!(self.stage, Stage::Failing { .. }) {
                        self.done.push(Done {
                            key: call.key,
                            step,
                            receipt,
                        });
                    }
                }
                if let Some(frame) = self.stack.last_mut() {
                    frame.acted = true;
                }
            }
            Outcome::Failed { reason, retry } => self.item_failed(reason, retry, now_ms),
        }
    }

    /// Ends the run as failed at the next chance: after the pending call, whose effect must be
    /// known to be taken back.
    pub fn abort(&mut self, reason: String) {
        if matches!(self.stage, Stage::Steps | Stage::Verify) {
            self.stop = Some(reason);
        }
    }

    /// A stored run goes on. The steady clock may have begun anew (a reboot); then times move
    /// with it, so that nothing waits longer than it was to.
    pub fn rebase(&mut self, now_ms: u64) {
        if now_ms >= self.seen_ms {
            return;
        }
        let back = self.seen_ms - now_ms;
        self.begun_ms = self.begun_ms.saturating_sub(back);
        for frame in &mut self.stack {
            frame.not_before_ms = frame.not_before_ms.saturating_sub(back);
        }
        self.seen_ms = now_ms;
    }

    /// Hands over the notes, for the story.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn must_stop(&mut self, now_ms: u64) -> Option<String> {
        if !matches!(self.stage, Stage::Steps | Stage::Verify) {
            return None;
        }
        if let Some(reason) = self.stop.take() {
            return Some(reason);
        }
        let slo = self.playbook.slo_ms?;
        let spent = now_ms.saturating_sub(self.begun_ms);
        (spent >= slo).then(|| format!("not over within its slo of {slo} ms ({spent} ms so far)"))
    }

    fn time_for(&self, item: &Item, now_ms: u64) -> u64 {
        let own = item.timeout_ms();
        match (&self.stage, self.playbook.slo_ms) {
            (Stage::Steps | Stage::Verify, Some(slo)) => {
                let spent = now_ms.saturating_sub(self.begun_ms);
                own.min(slo.saturating_sub(spent)).max(1)
            }
            _ => own.max(1),
        }
    }

    /// None: its condition does not hold.
    fn effect_of(&self, item: &Item) -> Result<Option<Effect>, String> {
        Ok(Some(match item {
            Item::Step { step } => {
                if let Some(condition) = &step.condition
                    && !condition_holds(condition, self)?
                {
                    return Ok(None);
                }
                Effect::Act {
                    action: step.action.clone(),
                    params: filled(&step.params, self)?,
                }
            }
            Item::Undo { step, receipt, .. } => Effect::Undo {
                action: step.action.clone(),
                receipt: receipt.clone(),
            },
            Item::Settle => Effect::Settle {
                target: self.finding.target.clone(),
            },
            Item::Tell { channel } => Effect::Tell {
                channel: channel.clone(),
                text: self.reason(),
            },
        }))
    }

    fn check_or_advance(&mut self, item: &Item, key: &str) {
        let attempt = self.stack.last().map_or(1, |frame| frame.attempt);
        let checks: Vec<Item> = item
            .checks()
            .iter()
            .cloned()
            .map(|step| Item::Step { step })
            .collect();
        if checks.is_empty() {
            self.advance();
        } else {
            self.push(checks, FrameKind::Checks);
            if let Some(frame) = self.stack.last_mut() {
                frame.prefix = format!("{key}#{attempt}.");
            }
        }
    }

    fn item_failed(&mut self, reason: String, retry: bool, now_ms: u64) {
        let mut reason = reason;
        let mut retry = retry;
        loop {
            let Some(frame) = self.stack.last_mut() else {
                self.fail(reason);
                return;
            };
            let Some(item) = frame.items.get(frame.at).cloned() else {
                self.stack.pop();
                continue;
            };
            let key = format!("{}{}", frame.prefix, item.id());
            if retry && frame.attempt <= item.retries() {
                let doublings = frame.attempt.saturating_sub(1).min(20);
                let wait = item
                    .backoff_ms()
                    .saturating_mul(1 << doublings)
                    .min(BACKOFF_MAX_MS);
                frame.not_before_ms = now_ms.saturating_add(wait);
                frame.attempt += 1;
                frame.acted = false;
                let text = format!("{reason}; try {} in {wait} ms", frame.attempt);
                self.note(&key, "retry", text);
                return;
            }
            let kind = frame.kind;
            self.note(&key, "gave-up", reason.clone());
            let go_on = match kind {
                FrameKind::Lenient => true,
                FrameKind::Checks => false,
                FrameKind::Steps => matches!(
                    &item,
                    Item::Step { step } if step.on_failure == StepFailure::Continue
                ),
            };
            if go_on {
                if kind == FrameKind::Lenient {
                    self.left_behind.push(format!("{key}: {reason}"));
                } else {
                    // Its action may have succeeded and only its verification failed.
                    let changed = self.done.iter().any(|d| d.key == key && d.receipt.changed);
                    self.outputs
                        .insert(item.id().to_owned(), outcome(false, changed, &reason));
                }
                self.advance();
                return;
            }
            self.stack.pop();
            reason = format!("{key}: {reason}");
            retry = true;
        }
    }

    fn stage_finished(&mut self) {
        match self.stage.clone() {
            Stage::Steps => {
                self.stage = Stage::Verify;
                let checks: Vec<Item> = if self.playbook.verify.is_empty() {
                    vec![Item::Settle]
                } else {
                    self.playbook
                        .verify
                        .iter()
                        .map(|s| Item::Step { step: s.clone() })
                        .collect()
                };
                self.note(
                    "",
                    "stage",
                    "every step is done; the effect is being verified".into(),
                );
                self.push(checks, FrameKind::Checks);
                self.prefix("verify.");
            }
            Stage::Verify => {
                self.stage = Stage::Ended {
                    end: End::Succeeded,
                }
            }
            Stage::Failing { next } => self.next_remedy(next),
            Stage::Ended { .. } => {}
        }
    }

    fn fail(&mut self, reason: String) {
        self.stack.clear();
        self.note("", "failed", reason.clone());
        self.failure = Some(reason);
        self.stage = Stage::Failing { next: 0 };
        let says = |entry: &OnFailure| matches!(entry, OnFailure::Rollback | OnFailure::Keep);
        if !self.playbook.on_failure.iter().any(says) {
            // What did not help is undone, unless its author says otherwise.
            self.take_back();
        }
    }

    /// Ends the run here and now: no step, no undo, no message. What it changed stays, and is
    /// told to whoever takes over.
    pub fn halt(&mut self, reason: &str) {
        if matches!(self.stage, Stage::Ended { .. }) {
            return;
        }
        let mut left: Vec<String> = self
            .done
            .iter()
            .filter(|done| done.receipt.changed)
            .map(|done| format!("{}: {}", done.key, done.receipt.summary))
            .collect();
        left.extend(
            self.pending
                .take()
                .map(|call| format!("{}: begun, and its end is not known", call.key)),
        );
        self.left_behind.extend(left);
        self.stack.clear();
        self.failure = Some(reason.to_owned());
        self.note("", "halted", reason.to_owned());
        let reason = self.reason();
        self.stage = Stage::Ended {
            end: End::Failed { reason },
        };
    }

    fn take_back(&mut self) {
        let undos: Vec<Item> = std::mem::take(&mut self.done)
            .into_iter()
            .enumerate()
            .rev()
            .filter_map(|(index, done)| undo_item(index, done))
            .collect();
        let text = match undos.len() {
            0 => "rollback: nothing was changed that can be taken back".to_owned(),
            n => format!("rollback: {n} to take back, last first"),
        };
        self.note("", "stage", text);
        self.push(undos, FrameKind::Lenient);
    }

    fn next_remedy(&mut self, at: usize) {
        self.stage = Stage::Failing { next: at + 1 };
        match self.playbook.on_failure.get(at).cloned() {
            Some(OnFailure::Rollback) => self.take_back(),
            Some(OnFailure::Keep) => {
                self.note("", "stage", "what was done stays as it is".to_owned());
                self.push(Vec::new(), FrameKind::Lenient);
            }
            Some(OnFailure::Escalate(channel)) => {
                self.told = true;
                self.push(vec![Item::Tell { channel }], FrameKind::Lenient);
                self.prefix(&format!("tell-{at}."));
            }
            Some(OnFailure::Playbook(id)) if self.chain.contains(&id) => {
                let text = format!("playbook {id} was already tried for this incident");
                self.note("", "skipped", text);
            }
            Some(OnFailure::Playbook(playbook)) => {
                let reason = self.reason();
                self.stage = Stage::Ended {
                    end: End::Fallback { playbook, reason },
                };
            }
            None if !self.told => {
                // Nobody was named: the log is where a person finds it.
                self.told = true;
                self.stage = Stage::Failing { next: at };
                self.push(
                    vec![Item::Tell {
                        channel: "log".to_owned(),
                    }],
                    FrameKind::Lenient,
                );
                self.prefix("tell.");
            }
            None => {
                let reason = self.reason();
                self.stage = Stage::Ended {
                    end: End::Failed { reason },
                };
            }
        }
    }

    fn reason(&self) -> String {
        let mut text = self.failure.clone().unwrap_or_else(|| "failed".to_owned());
        if !self.left_behind.is_empty() {
            text.push_str("; not taken back or not sent: ");
            text.push_str(&self.left_behind.join("; "));
        }
        text
    }

    fn push(&mut self, items: Vec<Item>, kind: FrameKind) {
        let frame = Frame {
            items,
            at: 0,
            attempt: 1,
            acted: false,
            not_before_ms: 0,
            prefix: String::new(),
            kind,
        };
        self.stack.push(frame);
    }

    fn prefix(&mut self, prefix: &str) {
        if let Some(frame) = self.stack.last_mut() {
            prefix.clone_into(&mut frame.prefix);
        }
    }

    fn advance(&mut self) {
        if let Some(frame) = self.stack.last_mut() {
            frame.at += 1;
            frame.attempt = 1;
            frame.acted = false;
            frame.not_before_ms = 0;
        }
    }

    fn note(&mut self, step: &str, kind: &str, text: String) {
        self.notes.push(Note {
            step: step.to_owned(),
            kind: kind.to_owned(),
            text,
        });
    }
}

/// The steps a run of `playbook` for a finding of this severity goes through, without their
/// conditions being known: (section, step), for a dry run.
#[must_use]
pub fn outline<'a>(playbook: &'a Playbook, finding: &Finding) -> Vec<(&'static str, &'a Step)> {
    let steps = playbook
        .branches
        .get(&finding.severity)
        .unwrap_or(&playbook.steps);
    let mut lines = Vec::new();
    for step in steps {
        lines.push(("step", step));
        lines.extend(step.verify.iter().map(|check| ("check", check)));
    }
    lines.extend(playbook.verify.iter().map(|step| ("verify", step)));
    lines
}
