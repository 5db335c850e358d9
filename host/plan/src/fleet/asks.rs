//! Operations on a fleet: each is checked whole before anything changes, and each ends.

use grace_model::command::Outcome;
use grace_model::id::OpId;
use grace_model::instance::Role;

use super::{Action, Ask, Fleet, Gate, Handover, Plan, Stage, WHOLE};

impl Fleet {
    pub(super) fn ask(&mut self, op: OpId, ask: Ask, now: u64, out: &mut Vec<Action>) {
        if self.has_operation(&op) {
            return;
        }
        let done = match ask {
            Ask::Promote(number) => self.promote(&op, number),
            Ask::Weights(shares) => self.set_shares(&shares).map(Some),
            Ask::Resize(plan) => self.resize(plan, out).map(Some),
            Ask::Rollout { version, strategy } => self
                .begin_rollout(&op, version, strategy, now, out)
                .map(|()| None),
            Ask::Rollback => self.roll_back(&op, now, out),
        };
        let outcome = match done {
            Ok(None) => return,
            Ok(Some(number)) => Outcome::Done { number },
            Err(refusal) => Outcome::Refused {
                unknown_target: refusal.unknown,
                reason: refusal.reason,
            },
        };
        out.push(Action::Finish(op, outcome));
    }

    /// None: it is under way, and ends with the handover.
    fn promote(&mut self, op: &OpId, number: u32) -> Result<Option<u64>, Refusal> {
        if !self.policy.roles {
            return Err(refuse(
                "every instance of this service is active already; give it `active` and `hot` \
                 to have standbys",
            ));
        }
        let Some(member) = self.members.get(&number).filter(|m| !m.dropped) else {
            return Err(unknown(number));
        };
        if self.handover.is_some() {
            return Err(refuse("another promotion is under way; try again after it"));
        }
        match member.role {
            Role::Active => return Ok(Some(member.facts.generation)),
            Role::Warm | Role::Sandbox => {
                return Err(refuse(
                    "it is warm: no process of it runs that could take over; promote a hot one, \
                     or raise `hot`",
                ));
            }
            Role::Hot if !member.facts.fit() => {
                let state = member.facts.state.word();
                return Err(refuse(&format!(
                    "it is {state}: only a ready one can be promoted"
                )));
            }
            Role::Hot if member.gate != Gate::Shut => {
                return Err(refuse(
                    "the proxy still has requests with it from before; try again in a moment",
                ));
            }
            Role::Hot => {}
        }
        // The one that is missed least.
        let from = self
            .members
            .iter()
            .filter(|(_, m)| m.role == Role::Active && !m.dropped)
            .max_by_key(|(other, m)| (!m.facts.fit(), m.facts.deaths, **other));
        let Some((from, _)) = from else {
            return Err(refuse("no instance is active; scale the service first"));
        };
        self.handover = Some(Handover {
            op: Some(op.clone()),
            from: *from,
            to: number,
        });
        Ok(None)
    }

    fn set_shares(&mut self, shares: &[(u32, u32)]) -> Result<u64, Refusal> {
        if shares.is_empty() {
            self.shares.clear();
            return Ok(0);
        }
        let mut sum = 0_u64;
        for (place, (number, share)) in shares.iter().enumerate() {
            if !self.wants(*number) {
                return Err(unknown(*number));
            }
            if shares.iter().take(place).any(|(other, _)| other == number) {
                return Err(refuse(&format!("instance {number} is named twice")));
            }
            sum += u64::from(*share);
        }
        if sum != u64::from(WHOLE) {
            return Err(refuse(&format!(
                "the weights sum to {sum}; they are shares of {WHOLE} and must sum to it"
            )));
        }
        self.shares = shares.iter().copied().collect();
        Ok(0)
    }

    fn resize(&mut self, plan: Plan, out: &mut Vec<Action>) -> Result<u64, Refusal> {
        if !self.policy.roles && (plan.hot > 0 || plan.warm > 0) {
            return Err(refuse(
                "this service has no roles; give it `active`, `hot` and `warm` in grace.toml \
                 first",
            ));
        }
        if self.policy.roles && plan.active == 0 {
            return Err(refuse(
                "a service with roles needs at least one active instance",
            ));
        }
        self.end_keeping();
        if self.rollout.is_some() {
            return Err(refuse(
                "a rollout is under way; scale after it, or roll it back",
            ));
        }
        let before = u64::from(self.plan.total());
        self.plan = plan;
        // One that is still on its way out turns round.
        let out_going: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, m)| m.dropped)
            .map(|(number, _)| *number)
            .collect();
        for number in self.fill() {
            if out_going.contains(&number) && self.wants(number) {
                out.push(Action::Start(number));
            }
        }
        Ok(before)
    }

    fn roll_back(
        &mut self,
        op: &OpId,
        now: u64,
        out: &mut Vec<Action>,
    ) -> Result<Option<u64>, Refusal> {
        let Some(rollout) = &mut self.rollout else {
            let Some(previous) = self.previous else {
                return Err(refuse("there is no version before this one"));
            };
            let strategy = super::Strategy::Rolling;
            self.begin_rollout(op, previous, strategy, now, out)?;
            return Ok(None);
        };
        if rollout.back {
            return Err(refuse("the rollout is going back already"));
        }
        if matches!(rollout.stage, Stage::Kept { .. }) {
            return Ok(Some(self.return_to_kept(out)));
        }
        let reason = "by an operation".to_owned();
        if let Some(asked) = rollout.op.replace(op.clone()) {
            let reason = format!("rolled back {reason}");
            out.push(Action::Finish(asked, Outcome::TimedOut { reason }));
        }
        rollout.asked_back = true;
        self.turn_back(&reason, now, out);
        Ok(None)
    }
}

/// Why an operation is refused.
pub(super) struct Refusal {
    unknown: bool,
    reason: String,
}

pub(super) fn refuse(reason: &str) -> Refusal {
    Refusal {
        unknown: false,
        reason: reason.to_owned(),
    }
}

fn unknown(number: u32) -> Refusal {
    Refusal {
        unknown: true,
        reason: format!("the service has no instance {number}"),
    }
}
