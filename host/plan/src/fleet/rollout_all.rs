//! A new version beside the old one, for services without roles: new instances get ready, the
//! traffic goes over at once, and the old ones run on for a while, ready to take it back.

use grace_model::instance::Role;

use super::{Action, Fleet, Member, Rollout, Stage};

impl Fleet {
    /// Makes one new instance for every old one.
    pub(super) fn set_beside(&mut self, version: u64, out: &mut Vec<Action>) {
        for _ in 0..self.plan.active {
            // One on its way out has a place that another cannot have yet.
            let number = (1..=u32::MAX)
                .find(|number| !self.members.contains_key(number))
                .unwrap_or(u32::MAX);
            self.members.insert(number, Member::new(Role::Hot, version));
            out.push(Action::Assign(number, version));
        }
    }

    fn all_fit(&self, version: u64) -> bool {
        self.members
            .values()
            .filter(|m| m.version == version && !m.dropped)
            .all(|m| m.facts.fit())
    }

    fn any_died(&self, version: u64) -> bool {
        self.members
            .values()
            .any(|m| m.version == version && !m.dropped && m.facts.deaths > 0)
    }

    pub(super) fn beside(
        &mut self,
        rollout: &Rollout,
        until: u64,
        now: u64,
        out: &mut Vec<Action>,
    ) -> bool {
        if self.any_died(rollout.to) {
            return self.turn_back("a new instance ended while it started", now, out);
        }
        if self.all_fit(rollout.to) {
            self.switch_to(rollout.to);
            let until = now.saturating_add(self.policy.watch_ms);
            return self.stage(Stage::Switched { until });
        }
        until <= now && self.turn_back("the new instances were not ready in time", now, out)
    }

    /// Gives the traffic to the instances of a version.
    fn switch_to(&mut self, version: u64) {
        for member in self.members.values_mut().filter(|m| !m.dropped) {
            let new = member.version == version;
            member.role = if new { Role::Active } else { Role::Hot };
        }
        // Shares were set for the others.
        self.shares.clear();
    }

    pub(super) fn switched(
        &mut self,
        rollout: &Rollout,
        until: u64,
        now: u64,
        out: &mut Vec<Action>,
    ) -> bool {
        if self.any_died(rollout.to) || !self.all_fit(rollout.to) {
            return self.turn_back("a new instance did not stay well", now, out);
        }
        if until > now {
            return false;
        }
        self.previous = Some(self.version);
        self.version = rollout.to;
        self.tell_end(rollout, out);
        if let Some(rollout) = &mut self.rollout {
            rollout.op = None;
        }
        let until = now.saturating_add(self.policy.keep_ms);
        self.stage(Stage::Kept { until })
    }

    /// The new instances go, the old ones have the traffic.
    pub(super) fn take_beside_away(&mut self, out: &mut Vec<Action>) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        self.switch_to(rollout.from);
        self.drop_all(rollout.to);
        self.tell_end(&rollout, out);
    }

    /// Back to the version that still runs beside; gives its number.
    pub(super) fn return_to_kept(&mut self, out: &mut Vec<Action>) -> u64 {
        if let Some(rollout) = &self.rollout {
            let (old, new) = (rollout.from, rollout.to);
            self.version = old;
            self.previous = Some(new);
        }
        self.take_beside_away(out);
        self.version
    }

    /// The old version does not stand by any more.
    pub(super) fn end_keeping(&mut self) -> bool {
        let kept = self
            .rollout
            .as_ref()
            .filter(|rollout| matches!(rollout.stage, Stage::Kept { .. }))
            .map(|rollout| rollout.from);
        let Some(old) = kept else { return false };
        self.rollout = None;
        self.drop_all(old);
        true
    }

    fn drop_all(&mut self, version: u64) {
        for member in self.members.values_mut().filter(|m| m.version == version) {
            member.dropped = true;
        }
    }
}
