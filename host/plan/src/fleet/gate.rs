//! Gates: how an instance is taken from the traffic so that it is known to answer nobody.

use grace_model::instance::{Role, State};

use super::{Action, Fleet, Gate, Member, Report};

impl Fleet {
    /// Whether the proxy may give requests to it.
    pub(super) fn is_routable(&self, member: &Member) -> bool {
        if member.dropped || member.role != Role::Active {
            return false;
        }
        let facts = &member.facts;
        if self.policy.roles {
            // A sick one is better than none: where there is a standby, it is fenced.
            let answers = matches!(facts.state, State::Ready | State::Degraded);
            member.gate == Gate::Open && facts.up && answers
        } else {
            facts.state == State::Ready
        }
    }

    /// Moves gates on their way from open to shut.
    pub(super) fn move_gates(&mut self, now: u64, out: &mut Vec<Action>) -> bool {
        let mut changed = false;
        let leaver = self.handover.as_ref().map(|handover| handover.from);
        let (leave_ms, cut_ms) = (self.policy.leave_ms, self.policy.cut_ms);
        for (number, member) in &mut self.members {
            let facts = member.facts;
            let gate = match member.gate {
                Gate::Shut => Gate::Shut,
                _ if !facts.up => Gate::Shut,
                Gate::Open
                    if facts.held
                        || facts.ending
                        || facts.state == State::Starting
                        || member.role != Role::Active
                        || member.dropped
                        || leaver == Some(*number) =>
                {
                    member.leave += 1;
                    // One that is being ended has times of its own.
                    let until = if facts.ending {
                        u64::MAX
                    } else {
                        now.saturating_add(leave_ms)
                    };
                    Gate::Leaving { until }
                }
                Gate::Leaving { until } if until <= now => {
                    // What an operator holds is left running.
                    if !facts.held {
                        member.fencing = true;
                        member.asked = true;
                        out.push(Action::Fence(*number));
                    }
                    Gate::Cut {
                        until: now.saturating_add(cut_ms),
                        closed: false,
                    }
                }
                Gate::Cut { closed: true, .. } if !member.fencing && facts.held => Gate::Shut,
                Gate::Cut { closed: true, .. } if !member.fencing => {
                    // Nobody holds it any more, and it may go on with what was cut off.
                    member.fencing = true;
                    member.asked = true;
                    out.push(Action::Fence(*number));
                    changed = true;
                    continue;
                }
                Gate::Cut { closed: true, .. } if facts.stuck => {
                    member.fencing = false;
                    out.push(Action::Report(Report::FencedAtProxyOnly {
                        number: *number,
                    }));
                    Gate::Shut
                }
                Gate::Cut {
                    until,
                    closed: false,
                } if until <= now && !member.fencing => {
                    // The proxy does not answer: only a dead process is known to be silent.
                    member.fencing = true;
                    member.asked = true;
                    out.push(Action::Fence(*number));
                    changed = true;
                    continue;
                }
                same => same,
            };
            changed |= gate != member.gate;
            member.gate = gate;
        }
        changed
    }

    /// Opens gates of active instances as long as the plan has room.
    pub(super) fn open_gates(&mut self) -> bool {
        let leaver = self.handover.as_ref().map(|handover| handover.from);
        let not_shut = self
            .members
            .values()
            .filter(|m| m.gate != Gate::Shut)
            .count();
        let mut room = (self.plan.active as usize).saturating_sub(not_shut);
        if crate::planted::promote_before_fence() {
            room = usize::MAX;
        }
        let mut changed = false;
        for (number, member) in &mut self.members {
            let wants = member.role == Role::Active
                && member.gate == Gate::Shut
                && !member.dropped
                && leaver != Some(*number)
                && member.facts.fit();
            if wants && room > 0 {
                room -= 1;
                member.gate = Gate::Open;
                changed = true;
            }
        }
        changed
    }
}
