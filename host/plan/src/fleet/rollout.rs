//! A new version comes in, instance after instance, each in its place: standbys first, then a
//! promotion takes the traffic over. The first failure turns it round.

use grace_model::command::Outcome;
use grace_model::id::OpId;
use grace_model::instance::Role;

use super::asks::{Refusal, refuse};
use super::{Action, Fleet, Gate, Handover, Ramp, Report, Rollout, Stage, Strategy};

/// How long an instance is watched before the next one, but for the first of a canary.
const GLANCE_MS: u64 = 1_000;

impl Fleet {
    pub(super) fn begin_rollout(
        &mut self,
        op: &OpId,
        to: u64,
        strategy: Strategy,
        now: u64,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        self.end_keeping();
        if self.rollout.is_some() {
            return Err(refuse(
                "a rollout is under way; wait for it, or roll it back",
            ));
        }
        if to == self.version {
            return Err(refuse("this version runs already"));
        }
        let from = self.version;
        let until = now.saturating_add(self.policy.start_timeout_ms);
        out.push(Action::Report(Report::Rollout {
            text: format!("version {to} instead of {from}"),
        }));
        // A single instance cannot be replaced in its place without a gap.
        let beside = !self.policy.roles
            && self.plan.active > 0
            && (strategy == Strategy::BlueGreen || self.plan.active == 1);
        self.rollout = Some(Rollout {
            op: Some(op.clone()),
            from,
            to,
            strategy,
            back: false,
            asked_back: false,
            reason: String::new(),
            stage: if beside {
                Stage::Beside { until }
            } else {
                Stage::Next { until }
            },
        });
        if beside {
            self.set_beside(to, out);
        }
        Ok(())
    }

    /// Moves a rollout one place further.
    pub(super) fn advance(&mut self, now: u64, out: &mut Vec<Action>) -> bool {
        let Some(rollout) = self.rollout.clone() else {
            return false;
        };
        match rollout.stage {
            Stage::Next { until } => self.next(&rollout, until, now, out),
            Stage::Renewing {
                number,
                until,
                deaths,
            } => {
                let Some(member) = self.members.get(&number) else {
                    return self.go_on(now);
                };
                let there = member.is_renewed() && member.facts.fit() && self.handover.is_none();
                if there {
                    // A standby has no traffic that could be watched.
                    let watch_ms = match member.role {
                        Role::Active => self.watch_ms(&rollout),
                        _ => 0,
                    };
                    return self.stage(Stage::Watching {
                        number,
                        until: now.saturating_add(watch_ms),
                        deaths: member.facts.deaths,
                    });
                }
                if rollout.back {
                    return until <= now && self.go_on(now);
                }
                if member.facts.deaths > deaths {
                    let reason = format!("instance {number} ended while it started");
                    return self.turn_back(&reason, now, out);
                }
                if until <= now {
                    let reason = format!("instance {number} was not ready in time");
                    return self.turn_back(&reason, now, out);
                }
                false
            }
            Stage::Watching {
                number,
                until,
                deaths,
            } => {
                let Some(member) = self.members.get(&number).filter(|_| !rollout.back) else {
                    return self.go_on(now);
                };
                if member.facts.deaths > deaths || !member.facts.fit() {
                    let reason = format!("instance {number} did not stay well");
                    return self.turn_back(&reason, now, out);
                }
                until <= now && member.ramp == Ramp::Full && self.go_on(now)
            }
            Stage::Beside { until } => self.beside(&rollout, until, now, out),
            Stage::Switched { until } => self.switched(&rollout, until, now, out),
            Stage::Kept { until } => until <= now && self.end_keeping(),
        }
    }

    fn watch_ms(&self, rollout: &Rollout) -> u64 {
        let first = !rollout.back
            && self
                .members
                .values()
                .filter(|m| m.version == rollout.to && m.role == Role::Active)
                .count()
                <= 1;
        match rollout.strategy {
            _ if rollout.back => 0,
            Strategy::Canary | Strategy::BlueGreen if first => self.policy.watch_ms,
            _ => self.policy.watch_ms.min(GLANCE_MS),
        }
    }

    pub(super) fn stage(&mut self, stage: Stage) -> bool {
        match &mut self.rollout {
            Some(rollout) => {
                rollout.stage = stage;
                true
            }
            None => false,
        }
    }

    fn go_on(&mut self, now: u64) -> bool {
        let until = now.saturating_add(self.policy.start_timeout_ms);
        self.stage(Stage::Next { until })
    }

    /// Takes the next instance, or ends.
    fn next(&mut self, rollout: &Rollout, until: u64, now: u64, out: &mut Vec<Action>) -> bool {
        let to = rollout.to;
        for (number, member) in &mut self.members {
            if member.role == Role::Warm && member.version != to && !member.dropped {
                member.version = to;
                member.renewed_at = Some(member.facts.generation);
                out.push(Action::Assign(*number, to));
            }
        }
        let old: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, m)| m.version != to && !m.dropped)
            .map(|(number, _)| *number)
            .collect();
        if old.is_empty() {
            self.complete(rollout, out);
            return true;
        }
        let late = until <= now;
        if self.handover.is_some() {
            return late && self.go_on(now);
        }
        let choice = if self.policy.roles {
            self.choose_with_roles(rollout, &old, late)
        } else {
            self.choose(&old, late && rollout.back)
        };
        let deaths =
            |fleet: &Self, number: u32| fleet.members.get(&number).map_or(0, |m| m.facts.deaths);
        let ready_by = now.saturating_add(self.policy.start_timeout_ms);
        match choice {
            Choice::Wait if late && !rollout.back => {
                self.turn_back("the other instances did not get well in time", now, out)
            }
            Choice::Wait if late => self.go_on(now),
            Choice::Wait => false,
            Choice::HandOver { from, to } => {
                self.handover = Some(Handover { op: None, from, to });
                let deaths = deaths(self, to);
                self.stage(Stage::Renewing {
                    number: to,
                    until: ready_by.saturating_add(self.policy.leave_ms),
                    deaths,
                })
            }
            Choice::Renew(number) => {
                let deaths = deaths(self, number);
                if let Some(member) = self.members.get_mut(&number) {
                    member.version = to;
                    member.renewed_at = Some(member.facts.generation);
                    member.asked = true;
                }
                out.push(Action::Renew(number, to));
                self.stage(Stage::Renewing {
                    number,
                    until: ready_by.saturating_add(self.policy.leave_ms),
                    deaths,
                })
            }
        }
    }

    /// Without roles: one that is down anyway, else the first, when all others are well.
    fn choose(&self, old: &[u32], whatever: bool) -> Choice {
        let down = |number: &&u32| {
            let member = self.members.get(number);
            member.is_some_and(|m| !m.facts.fit() && !m.facts.held)
        };
        if let Some(number) = old.iter().find(down) {
            return Choice::Renew(*number);
        }
        let waits = self
            .members
            .values()
            .any(|m| !m.dropped && !m.facts.fit() && !m.facts.hopeless());
        match old.first() {
            Some(number) if !waits || whatever => Choice::Renew(*number),
            _ => Choice::Wait,
        }
    }

    fn choose_with_roles(&self, rollout: &Rollout, old: &[u32], late: bool) -> Choice {
        let of = |role: Role| {
            let is = move |number: &&u32| self.members.get(number).is_some_and(|m| m.role == role);
            old.iter().copied().find(|number| is(&number))
        };
        let heir = self
            .members
            .iter()
            .filter(|(_, m)| m.role == Role::Hot && m.version == rollout.to)
            .find(|(_, m)| m.is_renewed() && m.facts.fit() && m.gate == Gate::Shut && !m.dropped);
        let hand_over = of(Role::Active)
            .zip(heir)
            .map(|(from, (to, _))| Choice::HandOver { from, to: *to });
        // On the way back the traffic goes first.
        if rollout.back
            && let Some(choice) = hand_over
        {
            return choice;
        }
        let actives_well = self
            .members
            .values()
            .filter(|m| m.role == Role::Active && !m.dropped)
            .all(|m| m.facts.fit() && m.gate == Gate::Open);
        if let Some(number) = of(Role::Hot) {
            let shut = self
                .members
                .get(&number)
                .is_some_and(|m| m.gate == Gate::Shut);
            let free = shut && (actives_well || late);
            return if free {
                Choice::Renew(number)
            } else {
                Choice::Wait
            };
        }
        let hot_comes = self
            .members
            .values()
            .any(|m| m.role == Role::Hot && !m.facts.hopeless() && !m.dropped);
        match (hand_over, of(Role::Active)) {
            (Some(choice), _) => choice,
            (None, Some(number)) if !hot_comes || (late && rollout.back) => Choice::Renew(number),
            _ => Choice::Wait,
        }
    }

    /// A window of traffic of this instance was bad.
    pub(super) fn watched_badly(
        &mut self,
        number: u32,
        reason: &str,
        now: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(rollout) = &self.rollout else { return };
        let new = self
            .members
            .get(&number)
            .is_some_and(|m| m.version == rollout.to);
        let watched = match rollout.stage {
            Stage::Watching {
                number: watched, ..
            } => watched == number,
            Stage::Switched { .. } => new,
            _ => false,
        };
        if watched && !rollout.back {
            self.turn_back(&format!("instance {number}: {reason}"), now, out);
        }
    }

    /// The way back to the version before.
    pub(super) fn turn_back(&mut self, reason: &str, now: u64, out: &mut Vec<Action>) -> bool {
        let until = now.saturating_add(self.policy.start_timeout_ms);
        let Some(rollout) = &mut self.rollout else {
            return false;
        };
        let (old, new) = (rollout.from, rollout.to);
        out.push(Action::Report(Report::Rollout {
            text: format!("version {new} goes back to {old}: {reason}"),
        }));
        reason.clone_into(&mut rollout.reason);
        rollout.back = true;
        match rollout.stage {
            Stage::Beside { .. } | Stage::Switched { .. } | Stage::Kept { .. } => {
                self.take_beside_away(out);
            }
            Stage::Next { .. } | Stage::Renewing { .. } | Stage::Watching { .. } => {
                (rollout.from, rollout.to) = (new, old);
                rollout.stage = Stage::Next { until };
                if self
                    .handover
                    .as_ref()
                    .is_some_and(|handover| handover.op.is_none())
                {
                    self.handover = None;
                }
            }
        }
        true
    }

    /// Everyone runs what was wanted.
    pub(super) fn complete(&mut self, rollout: &Rollout, out: &mut Vec<Action>) {
        self.rollout = None;
        if !rollout.back {
            self.previous = Some(self.version);
            self.version = rollout.to;
        }
        self.tell_end(rollout, out);
    }

    pub(super) fn tell_end(&self, rollout: &Rollout, out: &mut Vec<Action>) {
        let number = self.version;
        let outcome = if rollout.back && !rollout.asked_back {
            Outcome::TimedOut {
                reason: format!("rolled back to version {number}: {}", rollout.reason),
            }
        } else {
            Outcome::Done { number }
        };
        out.push(Action::Report(Report::Rollout {
            text: format!("version {number} runs"),
        }));
        if let Some(op) = &rollout.op {
            out.push(Action::Finish(op.clone(), outcome));
        }
    }
}

/// What a rollout does next.
enum Choice {
    Wait,
    Renew(u32),
    HandOver { from: u32, to: u32 },
}
