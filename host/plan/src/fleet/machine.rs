//! The fleet's step: events come in, then everything is settled anew from what is known, so
//! that a word that comes twice, late or never does no harm.

use std::collections::BTreeMap;

use grace_model::id::OpId;
use grace_model::instance::{Role, State};

use super::{Action, Event, Facts, Fleet, Gate, Member, Plan, Policy, Ramp, Report, Sample, Stage};

/// Rounds of settling in one step. Every round moves at least one instance one place further;
/// what is left over goes on with the next event.
const ROUNDS: usize = 16;

impl Fleet {
    /// A fleet in which nothing runs yet.
    #[must_use]
    pub fn new(policy: Policy, plan: Plan, version: u64) -> Self {
        let mut fleet = Self {
            policy,
            plan,
            members: BTreeMap::new(),
            shares: BTreeMap::new(),
            weights: BTreeMap::new(),
            handover: None,
            rollout: None,
            version,
            previous: None,
            lost: Vec::new(),
            gave_up: false,
        };
        fleet.fill();
        fleet
    }

    /// Takes a policy that was read anew.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// How many of each kind are wanted.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Whether there are roles.
    #[must_use]
    pub fn has_roles(&self) -> bool {
        self.policy.roles
    }

    /// Numbers of the instances that are part of the service.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let live = self.members.iter().filter(|(_, member)| !member.dropped);
        live.map(|(number, _)| *number)
    }

    /// Whether an instance is part of the service.
    #[must_use]
    pub fn wants(&self, number: u32) -> bool {
        self.members
            .get(&number)
            .is_some_and(|member| !member.dropped)
    }

    /// What an instance is there for; none: it is no part of the service.
    #[must_use]
    pub fn role(&self, number: u32) -> Option<Role> {
        self.members.get(&number).map(|member| member.role)
    }

    /// The version an instance runs or is to run.
    #[must_use]
    pub fn version_of(&self, number: u32) -> Option<u64> {
        self.members.get(&number).map(|member| member.version)
    }

    /// The version that the service runs, and the one before it.
    #[must_use]
    pub fn versions(&self) -> (u64, Option<u64>) {
        (self.version, self.previous)
    }

    /// Whether a version is on its way in, or the old one still stands by.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.rollout.is_some()
    }

    /// Whether the proxy is to end what it has with this instance and begin nothing.
    #[must_use]
    pub fn is_leaving(&self, number: u32) -> bool {
        self.members
            .get(&number)
            .is_some_and(|member| matches!(member.gate, Gate::Leaving { .. } | Gate::Cut { .. }))
    }

    /// Whether the proxy is to close every connection with this instance.
    #[must_use]
    pub fn is_cut(&self, number: u32) -> bool {
        self.members
            .get(&number)
            .is_some_and(|member| matches!(member.gate, Gate::Cut { .. }))
    }

    /// Whether it waits to hear from the proxy that it has closed with this instance.
    #[must_use]
    pub fn awaits_drained(&self, number: u32) -> bool {
        self.members.get(&number).is_some_and(|member| {
            matches!(
                member.gate,
                Gate::Leaving { .. } | Gate::Cut { closed: false, .. }
            )
        })
    }

    /// Whether this process of an instance is taken for one that answers nobody.
    #[cfg(test)]
    pub(crate) fn is_shut(&self, number: u32, generation: u64) -> bool {
        self.members
            .get(&number)
            .is_none_or(|member| member.gate == Gate::Shut || member.facts.generation != generation)
    }

    /// The number of an instance's last leave, for the proxy to give back.
    #[must_use]
    pub fn leave(&self, number: u32) -> u64 {
        self.members.get(&number).map_or(0, |member| member.leave)
    }

    /// Whether an operation is in hand.
    #[must_use]
    pub fn has_operation(&self, op: &OpId) -> bool {
        let of_handover = self
            .handover
            .as_ref()
            .and_then(|handover| handover.op.as_ref());
        let of_rollout = self
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.op.as_ref());
        of_handover == Some(op) || of_rollout == Some(op)
    }

    /// When `Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let of_member = |member: &Member| {
            let gate = match member.gate {
                Gate::Leaving { until } => Some(until),
                Gate::Cut {
                    until,
                    closed: false,
                } if !member.fencing => Some(until),
                _ => None,
            };
            let ramp = match member.ramp {
                Ramp::Step { until, .. } | Ramp::Held { until, .. } => Some(until),
                Ramp::Full => None,
            };
            [gate, ramp].into_iter().flatten().min()
        };
        let rollout = self
            .rollout
            .as_ref()
            .and_then(|rollout| match rollout.stage {
                // After its time it waits for the ramp, which has a time of its own.
                Stage::Watching { number, until, .. } => {
                    let ramp = self.members.get(&number).map(|member| member.ramp);
                    (ramp.is_none_or(|ramp| ramp == Ramp::Full)).then_some(until)
                }
                Stage::Next { until }
                | Stage::Renewing { until, .. }
                | Stage::Beside { until }
                | Stage::Switched { until }
                | Stage::Kept { until } => Some(until),
            });
        self.members
            .values()
            .filter_map(of_member)
            .chain(rollout)
            .min()
    }

    /// What a new supervisor does first: what was asked for before may have been asked of
    /// nobody. It then says of every instance what it sees.
    pub fn recover(&mut self) {
        for member in self.members.values_mut() {
            member.asked = false;
        }
    }

    /// Takes one event. The caller keeps the fleet before it carries out the actions.
    pub fn step(&mut self, event: Event, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Seen { number, facts } => self.seen(number, facts, now),
            Event::Drained {
                number,
                generation,
                leave,
            } => self.drained(number, generation, leave),
            Event::Fresh { number, generation } => {
                if let Some(member) = self.of_generation(number, generation) {
                    member.fresh_at = now;
                }
            }
            Event::Traffic {
                number,
                generation,
                sample,
            } => self.traffic(number, generation, sample, now, &mut out),
            Event::Ask { op, ask } => self.ask(op, ask, now, &mut out),
            Event::Tick => {}
        }
        self.settle(now, &mut out);
        out
    }

    fn of_generation(&mut self, number: u32, generation: u64) -> Option<&mut Member> {
        let member = self.members.get_mut(&number)?;
        (member.facts.generation == generation || crate::planted::stale_believed())
            .then_some(member)
    }

    pub(super) fn loaded(&mut self, number: u32, generation: u64, sample: Sample) -> bool {
        let Some(member) = self.of_generation(number, generation) else {
            return false;
        };
        member.load = sample;
        true
    }

    fn seen(&mut self, number: u32, facts: Facts, now: u64) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        let before = member.facts;
        if facts.generation < before.generation {
            return;
        }
        member.asked = false;
        member.facts = facts;
        if !facts.up || facts.generation > before.generation {
            // Its process is gone: it can never answer again.
            member.gate = Gate::Shut;
            member.fencing = false;
            member.load = Sample::default();
        }
        if facts.state != State::Ready {
            member.ready_since = None;
        } else if member.ready_since.is_none() {
            member.ready_since = Some(now);
            member.fresh_at = now;
        }
    }

    fn drained(&mut self, number: u32, generation: u64, leave: u64) {
        let Some(member) = self.of_generation(number, generation) else {
            return;
        };
        if member.leave != leave && !crate::planted::stale_believed() {
            return;
        }
        match &mut member.gate {
            Gate::Leaving { .. } if member.facts.fenced && !member.facts.held => {
                member.fencing = true;
                member.gate = Gate::Cut {
                    until: u64::MAX,
                    closed: true,
                };
            }
            Gate::Leaving { .. } => member.gate = Gate::Shut,
            Gate::Cut { closed, .. } => *closed = true,
            Gate::Shut | Gate::Open => {}
        }
    }

    fn settle(&mut self, now: u64, out: &mut Vec<Action>) {
        // A rollout waits for ramps, and ramps for gates.
        self.ramp(now);
        for _ in 0..ROUNDS {
            let mut changed = self.advance(now, out);
            if self.policy.roles {
                changed |= self.move_gates(now, out);
                changed |= self.hand_over(out);
                changed |= self.replace_actives(out);
                changed |= self.refill(out);
                changed |= self.balance();
                changed |= self.open_gates();
            }
            if !changed {
                break;
            }
        }
        self.want(out);
        self.ramp(now);
        self.weigh();
        self.report(out);
    }

    /// Asks for processes that are wanted and do not run, and the other way round.
    fn want(&mut self, out: &mut Vec<Action>) {
        for (number, member) in &mut self.members {
            if member.asked {
                continue;
            }
            let facts = &member.facts;
            let there = facts.up || facts.state == State::Starting;
            let left = there || facts.state == State::Failed;
            if member.fencing && facts.up && !facts.ending {
                member.asked = true;
                out.push(Action::Fence(*number));
            } else if member.dropped {
                if left && !facts.ending && member.gate == Gate::Shut {
                    member.asked = true;
                    out.push(Action::Drop(*number));
                }
            } else if member.role == Role::Warm {
                if there && !facts.ending && !facts.held && member.gate == Gate::Shut {
                    member.asked = true;
                    out.push(Action::Stop(*number));
                }
            } else if facts.state == State::Stopped && !facts.up {
                member.asked = true;
                out.push(Action::Start(*number));
            }
        }
        let gone = |member: &Member| {
            member.dropped && !member.facts.up && member.facts.state == State::Stopped
        };
        self.members.retain(|_, member| !gone(member));
        let members = &self.members;
        self.shares.retain(|number, _| members.contains_key(number));
    }

    fn report(&mut self, out: &mut Vec<Action>) {
        if !self.policy.roles {
            return;
        }
        let live = || self.members.values().filter(|member| !member.dropped);
        let gave_up = live().next().is_some()
            && live().all(|m| m.facts.state == State::Failed || m.facts.stuck);
        if gave_up && !self.gave_up {
            out.push(Action::Report(Report::GaveUp));
        }
        self.gave_up = gave_up;
        let standby = live().any(|m| m.role == Role::Hot && m.facts.fit());
        let lost = |member: &Member| {
            member.role == Role::Active
                && !member.dropped
                && !member.facts.fit()
                && (member.served || member.facts.state == State::Failed)
        };
        let now_lost: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, member)| !standby && lost(member))
            .map(|(number, _)| *number)
            .collect();
        for number in &now_lost {
            if !self.lost.contains(number) {
                out.push(Action::Report(Report::NoStandby { number: *number }));
            }
        }
        self.lost = now_lost;
    }
}

impl Member {
    pub(super) fn new(role: Role, version: u64) -> Self {
        Self {
            role,
            facts: Facts::never_ran(),
            gate: Gate::Shut,
            leave: 0,
            fencing: false,
            asked: false,
            ready_since: None,
            fresh_at: 0,
            load: Sample::default(),
            routable: false,
            served: false,
            ramp: Ramp::Full,
            version,
            renewed_at: None,
            dropped: false,
        }
    }

    /// Whether its process, if one runs, is of its version.
    pub(super) fn is_renewed(&self) -> bool {
        self.renewed_at
            .is_none_or(|generation| self.facts.generation > generation)
    }
}
