//! Roles: who takes over, who refills, and how the numbers of each kind are kept.

use std::cmp::Reverse;

use grace_model::command::Outcome;
use grace_model::instance::{Role, State};

use super::{Action, Fleet, Gate, Handover, Member, Report};

/// Words of good health that came within this time of one another are equally fresh.
const FRESH_MS: u64 = 1_000;

impl Fleet {
    /// The standby that takes over: of those in good health that owe nothing to the proxy, the
    /// one of the trusted version, with the fewest deaths, of whose health was heard last, with
    /// the least load, ready for longest.
    pub(super) fn best_standby(&self) -> Option<u32> {
        let trusted = self.trusted();
        self.members
            .iter()
            .filter(|(_, m)| m.role == Role::Hot && m.gate == Gate::Shut)
            .filter(|(_, m)| !m.dropped && m.facts.fit())
            .min_by_key(|(number, m)| {
                let key = (
                    trusted.is_some_and(|version| m.version != version),
                    m.facts.deaths,
                    Reverse(m.fresh_at / FRESH_MS),
                    m.load.inflight,
                    m.load.p99_us,
                    m.ready_since,
                );
                (key, **number)
            })
            .map(|(number, _)| *number)
    }

    /// While two versions are there, the one that has been proved.
    fn trusted(&self) -> Option<u64> {
        let rollout = self.rollout.as_ref()?;
        Some(if rollout.back {
            rollout.to
        } else {
            rollout.from
        })
    }

    fn swap(&mut self, old: u32, new: u32, out: &mut Vec<Action>) {
        if let Some(member) = self.members.get_mut(&old) {
            member.role = Role::Hot;
            let (number, to) = (old, Role::Hot);
            out.push(Action::Report(Report::Demoted { number, to }));
        }
        if let Some(member) = self.members.get_mut(&new) {
            member.role = Role::Active;
            out.push(Action::Report(Report::Promoted {
                number: new,
                instead_of: Some(old),
            }));
        }
    }

    /// Goes on with a promotion that was asked for.
    pub(super) fn hand_over(&mut self, out: &mut Vec<Action>) -> bool {
        let Some(Handover { from, to, .. }) = self.handover.clone() else {
            return false;
        };
        let heir = self
            .members
            .get(&to)
            .is_some_and(|m| m.role == Role::Hot && m.facts.fit() && !m.dropped);
        let outcome = match self.members.get(&from) {
            _ if !heir => Outcome::TimedOut {
                reason: "the standby is not ready any more; the active one stays".to_owned(),
            },
            Some(old) if old.role != Role::Active => Outcome::TimedOut {
                reason: "the active one was replaced by another meanwhile".to_owned(),
            },
            Some(old) if old.gate != Gate::Shut => return false,
            _ => {
                self.swap(from, to, out);
                let generation = self.members.get(&to).map_or(0, |m| m.facts.generation);
                Outcome::Done { number: generation }
            }
        };
        if let Some(op) = self.handover.take().and_then(|handover| handover.op) {
            out.push(Action::Finish(op, outcome));
        }
        true
    }

    /// Replaces active ones that are lost or sick, the sick ones after a fence.
    pub(super) fn replace_actives(&mut self, out: &mut Vec<Action>) -> bool {
        let leaver = self.handover.as_ref().map(|handover| handover.from);
        let unfit: Vec<u32> = self
            .members
            .iter()
            .filter(|(number, m)| {
                m.role == Role::Active && !m.facts.fit() && leaver != Some(**number)
            })
            .map(|(number, _)| *number)
            .collect();
        let mut changed = false;
        for number in unfit {
            let Some(heir) = self.best_standby() else {
                return changed;
            };
            let Some(member) = self.members.get_mut(&number) else {
                continue;
            };
            match member.gate {
                Gate::Shut => {
                    self.swap(number, heir, out);
                    changed = true;
                }
                Gate::Open => {
                    member.leave += 1;
                    member.fencing = true;
                    // It is killed at once; the proxy's word is not waited for.
                    member.gate = Gate::Cut {
                        until: u64::MAX,
                        closed: false,
                    };
                    member.asked = true;
                    out.push(Action::Fence(number));
                    out.push(Action::Report(Report::Fencing { number }));
                    changed = true;
                    if crate::planted::promote_before_fence() {
                        self.swap(number, heir, out);
                    }
                }
                Gate::Leaving { .. } | Gate::Cut { .. } => {}
            }
        }
        changed
    }

    /// Has warm ones take the places of those that are gone.
    pub(super) fn refill(&mut self, out: &mut Vec<Action>) -> bool {
        let mut changed = false;
        let numbers: Vec<u32> = self.members.keys().copied().collect();
        for number in numbers {
            let Some(member) = self.members.get(&number) else {
                continue;
            };
            let (role, facts) = (member.role, member.facts);
            if member.gate != Gate::Shut || member.dropped {
                continue;
            }
            let down = !facts.up && matches!(facts.state, State::Stopped | State::Starting);
            let gone = match role {
                Role::Hot => facts.hopeless() || (down && facts.owes),
                // A hot one takes over as soon as it is ready; only without one a cold start
                // is the way.
                Role::Active => {
                    facts.hopeless()
                        && !self
                            .members
                            .values()
                            .any(|m| m.role == Role::Hot && !m.facts.hopeless() && !m.dropped)
                }
                Role::Warm | Role::Sandbox => false,
            };
            if !gone {
                continue;
            }
            let Some(warm) = self.best_warm(facts.hopeless()) else {
                continue;
            };
            if let Some(member) = self.members.get_mut(&number) {
                member.role = Role::Warm;
            }
            if let Some(member) = self.members.get_mut(&warm) {
                member.role = role;
            }
            out.push(Action::Report(Report::Refilled { number: warm }));
            changed = true;
        }
        changed
    }

    fn best_warm(&self, any: bool) -> Option<u32> {
        self.members
            .iter()
            .filter(|(_, m)| m.role == Role::Warm && !m.dropped && !m.facts.hopeless())
            .filter(|(_, m)| !m.facts.up && m.facts.state == State::Stopped)
            .filter(|(_, m)| any || !m.facts.owes)
            .min_by_key(|(number, m)| (m.facts.owes, m.facts.deaths, **number))
            .map(|(number, _)| *number)
    }

    /// Makes the numbers of each kind those of the plan.
    pub(super) fn balance(&mut self) -> bool {
        let count = |fleet: &Self, role: Role| {
            let of = |m: &&Member| m.role == role && !m.dropped;
            u32::try_from(fleet.members.values().filter(of).count()).unwrap_or(u32::MAX)
        };
        let mut changed = false;
        for (role, wanted, below) in [
            (Role::Active, self.plan.active, Role::Hot),
            (Role::Hot, self.plan.hot, Role::Warm),
        ] {
            while count(self, role) > wanted && self.turn_worst(role, below) {
                changed = true;
            }
            while count(self, role) < wanted
                && (self.turn_best(below, role) || self.turn_best(Role::Warm, role))
            {
                changed = true;
            }
        }
        changed
    }

    fn turn_best(&mut self, from: Role, to: Role) -> bool {
        let best = self
            .members
            .iter_mut()
            .filter(|(_, m)| m.role == from && !m.dropped)
            .min_by_key(|(number, m)| (m.rank(), **number));
        best.map(|(_, member)| member.role = to).is_some()
    }

    fn turn_worst(&mut self, from: Role, to: Role) -> bool {
        let worst = self
            .members
            .iter_mut()
            .filter(|(_, m)| m.role == from && !m.dropped)
            .max_by_key(|(number, m)| (m.rank(), **number));
        worst.map(|(_, member)| member.role = to).is_some()
    }

    /// Adds instances up to the plan's number, or lets the least needed go.
    pub(super) fn fill(&mut self) -> Vec<u32> {
        let total = self.plan.total() as usize;
        let mut changed = Vec::new();
        while self.numbers().count() > total {
            let roles = self.policy.roles;
            let last = self
                .members
                .iter_mut()
                .filter(|(_, m)| !m.dropped)
                .max_by_key(|(number, m)| {
                    let need = match m.role {
                        _ if !roles => 0,
                        Role::Warm | Role::Sandbox => 2,
                        Role::Hot => 1,
                        Role::Active => 0,
                    };
                    (need, **number)
                });
            let Some((number, member)) = last else { break };
            member.dropped = true;
            changed.push(*number);
        }
        while self.numbers().count() < total {
            let number = self.place();
            let role = if self.policy.roles {
                Role::Warm
            } else {
                Role::Active
            };
            let version = self.version;
            let member = self.members.entry(number);
            let member = member.or_insert_with(|| Member::new(role, version));
            member.dropped = false;
            member.role = role;
            changed.push(number);
        }
        changed
    }

    /// The lowest number that is free, or whose instance is on its way out and can turn round.
    fn place(&self) -> u32 {
        let free = |number: &u32| match self.members.get(number) {
            Some(member) => member.dropped && member.version == self.version,
            None => true,
        };
        (1..=u32::MAX).find(free).unwrap_or(u32::MAX)
    }
}

impl Member {
    /// Lower is nearer to serving.
    fn rank(&self) -> u8 {
        let facts = &self.facts;
        match self.gate {
            Gate::Open => 0,
            _ if facts.fit() => 1,
            _ if facts.hopeless() => 5,
            _ if facts.up => 2,
            _ if !facts.owes => 3,
            _ => 4,
        }
    }
}
