//! A returning instance gets its share in steps, and loses it when it does badly.

use super::{Action, Event, Fleet, Member, RAMP, Ramp, Report, Sample, Strategy};

/// Requests below which a window says nothing.
const ENOUGH: u64 = 10;

/// Errors in a hundred requests that are never taken for noise.
const ERRORS_PERCENT: u64 = 5;

/// Times the others' 99th percentile that is too slow.
const SLOWER: u64 = 3;

/// A first byte within this time is never too slow, whatever the others do.
const FAST_US: u64 = 50_000;

/// Steps of waiting after a ramp that was broken off; doubles each time.
const WAIT_STEPS: u64 = 10;

/// The step that the wait of a canary without a ramp of its own is counted in.
const SHORTEST_STEP_MS: u64 = 100;

/// Doublings of that wait.
const WAITS: u32 = 5;

impl Fleet {
    pub(super) fn traffic(
        &mut self,
        number: u32,
        generation: u64,
        sample: Sample,
        now: u64,
        out: &mut Vec<Action>,
    ) {
        if !self.loaded(number, generation, sample) {
            return;
        }
        if sample.requests > sample.errors
            && let Some(member) = self.members.get_mut(&number)
        {
            member.fresh_at = now;
        }
        let Some(reason) = self.judge(number, sample) else {
            return;
        };
        self.watched_badly(number, &reason, now, out);
        let step_ms = self.policy.ramp_step_ms.max(SHORTEST_STEP_MS);
        if let Some(member) = self.members.get_mut(&number)
            && let Ramp::Step { tries, .. } = member.ramp
        {
            let wait = step_ms.saturating_mul(WAIT_STEPS << tries.min(WAITS));
            member.ramp = Ramp::Held {
                until: now.saturating_add(wait),
                tries: tries.saturating_add(1),
            };
            out.push(Action::Report(Report::RampAborted { number, reason }));
        }
    }

    /// Why a window is bad, next to those of the others at their full share.
    fn judge(&self, number: u32, sample: Sample) -> Option<String> {
        if sample.requests < ENOUGH {
            return None;
        }
        let version = self.members.get(&number).map(|member| member.version);
        let other_version = self.rollout.is_some();
        let others = self.members.iter().filter(|(other, member)| {
            **other != number
                && member.load.requests >= ENOUGH
                && member.ramp == Ramp::Full
                && (!other_version || Some(member.version) != version)
        });
        let mut sum = Sample::default();
        for (_, member) in others {
            sum.requests += member.load.requests;
            sum.errors += member.load.errors;
            sum.p99_us = sum.p99_us.max(member.load.p99_us);
        }
        let many = sample.errors.saturating_mul(100) > sample.requests * ERRORS_PERCENT;
        let more = sum.requests == 0
            || sample.errors.saturating_mul(sum.requests)
                > sum.errors.saturating_mul(2).saturating_mul(sample.requests);
        if many && more {
            let (errors, requests) = (sample.errors, sample.requests);
            return Some(format!("{errors} of {requests} requests failed"));
        }
        let slow = sum.requests > 0
            && sample.p99_us > FAST_US
            && sample.p99_us > sum.p99_us.saturating_mul(SLOWER);
        slow.then(|| {
            format!(
                "a first byte took {} us where others take {} us",
                sample.p99_us, sum.p99_us
            )
        })
    }

    /// Begins, goes on with and ends ramps.
    pub(super) fn ramp(&mut self, now: u64) {
        let ramp_ms = self.policy.ramp_step_ms;
        // A canary is one by its ramp, also where others have none.
        let canary = self.rollout.as_ref().filter(|rollout| {
            rollout.strategy == Strategy::Canary && !rollout.back && ramp_ms == 0
        });
        let canary = canary.map(|rollout| rollout.to);
        let canary_ms = self.policy.watch_ms / RAMP.len() as u64;
        let full = self
            .members
            .values()
            .filter(|m| m.routable && m.ramp == Ramp::Full && self.is_routable(m))
            .count();
        let routable: Vec<bool> = self.members.values().map(|m| self.is_routable(m)).collect();
        for (member, routable) in self.members.values_mut().zip(routable) {
            let is_canary = canary == Some(member.version);
            let step_ms = if is_canary { canary_ms } else { ramp_ms };
            if routable && !member.routable && member.ramp == Ramp::Full {
                if member.served && full > 0 && step_ms > 0 {
                    member.begin_ramp(now, step_ms, 0);
                }
                member.served = true;
            }
            if !routable && matches!(member.ramp, Ramp::Step { .. }) {
                member.ramp = Ramp::Full;
            }
            member.routable = routable;
            match member.ramp {
                Ramp::Step { .. } if full == 0 => member.ramp = Ramp::Full,
                // The rollout that wanted a ramp is over.
                Ramp::Step { until, .. } | Ramp::Held { until, .. }
                    if until <= now && step_ms == 0 =>
                {
                    member.ramp = Ramp::Full;
                }
                Ramp::Step { step, until, tries } if until <= now => {
                    member.ramp = if step + 2 >= RAMP.len() {
                        Ramp::Full
                    } else {
                        let until = now.saturating_add(step_ms);
                        let step = step + 1;
                        Ramp::Step { step, until, tries }
                    };
                }
                Ramp::Held { until, .. } if until <= now && !routable => member.ramp = Ramp::Full,
                Ramp::Held { until, tries } if until <= now => {
                    member.begin_ramp(now, step_ms, tries);
                }
                _ => {}
            }
        }
    }
}

impl Member {
    fn begin_ramp(&mut self, now: u64, step_ms: u64, tries: u32) {
        self.ramp = Ramp::Step {
            step: 0,
            until: now.saturating_add(step_ms),
            tries,
        };
    }
}

impl Event {
    /// The instance that an event is about, if it is about one.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        match self {
            Event::Seen { number, .. }
            | Event::Drained { number, .. }
            | Event::Fresh { number, .. }
            | Event::Traffic { number, .. } => Some(*number),
            Event::Ask { .. } | Event::Tick => None,
        }
    }
}
