//! When an instance leaves the rotation by the proxy's own judgement, and when it comes back.
//! Pure: it is told what happened and when, and says what to do.

use std::time::{Duration, Instant};

/// The first ejection lasts at least this long.
const HOLD_MIN: Duration = Duration::from_secs(1);
/// It doubles up to this while the instance keeps failing.
const HOLD_MAX: Duration = Duration::from_secs(30);
/// Failing again within this time after its return is the same trouble as before.
const SAME_TROUBLE: Duration = Duration::from_secs(60);
/// A trial that nobody made for this long is given up, and the instance returns without.
const TRIAL_WAIT: Duration = Duration::from_secs(30);

/// What an instance was ejected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its process was stopped.
    Stopped,
    /// It was not reached or did not answer.
    Silent,
    /// It answered with server errors.
    Errors,
}

/// What is to be done about an ejected instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Wait,
    /// Offer it one trial request.
    OfferTrial,
    /// Put it back.
    Return,
}

/// What is known of an instance besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// It has an HTTP probe, whose pass proves something.
    pub(crate) probed: bool,
    /// Its process is stopped now.
    pub(crate) stopped: bool,
    /// Second tries are on: only then may a trial request be risked.
    pub(crate) retry: bool,
}

/// The ejections of one instance.
#[derive(Debug, Default)]
pub(crate) struct Ejections {
    now: Option<Ejection>,
    level: u32,
    returned: Option<Instant>,
}

#[derive(Debug)]
struct Ejection {
    trouble: Trouble,
    since: Instant,
    passed: bool,
    offered: Option<Instant>,
}

/// How many of a service's instances may be out for server errors at once: half, since errors
/// of all instances are the program's, and one left alone would be crushed.
pub(crate) fn most_out(instances: usize, trouble: Trouble) -> usize {
    match trouble {
        Trouble::Errors => (instances / 2).max(1),
        Trouble::Stopped | Trouble::Silent => instances,
    }
}

impl Ejections {
    pub(crate) fn active(&self) -> bool {
        self.now.is_some()
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.now.as_ref().map(|ejection| ejection.trouble)
    }

    /// Takes it out. Stopping beats other troubles, as only it is over without a trial.
    pub(crate) fn eject(&mut self, trouble: Trouble, at: Instant) {
        if self.now.is_none() {
            let again = self
                .returned
                .is_some_and(|returned| at.saturating_duration_since(returned) < SAME_TROUBLE);
            self.level = if again {
                self.level.saturating_add(1)
            } else {
                0
            };
        }
        self.now = Some(Ejection {
            trouble,
            since: at,
            passed: false,
            offered: None,
        });
    }

    /// Its probe passed, having begun at `begun`.
    pub(crate) fn pass(&mut self, begun: Instant) {
        if let Some(ejection) = &mut self.now
            && begun >= ejection.since
        {
            ejection.passed = true;
        }
    }

    /// Its probe failed.
    pub(crate) fn fail(&mut self) {
        if let Some(ejection) = &mut self.now {
            ejection.passed = false;
        }
    }

    /// The trial request failed: out again, twice as long.
    pub(crate) fn fail_trial(&mut self, at: Instant) {
        self.level = self.level.saturating_add(1);
        if let Some(ejection) = &mut self.now {
            ejection.since = at;
            ejection.passed = false;
            ejection.offered = None;
        }
    }

    /// It is back.
    pub(crate) fn end(&mut self, at: Instant) {
        if self.now.take().is_some() {
            self.returned = Some(at);
        }
    }

    /// How long it is out at least.
    pub(crate) fn hold(&self) -> Duration {
        HOLD_MIN
            .saturating_mul(1_u32.checked_shl(self.level.min(16)).unwrap_or(1))
            .min(HOLD_MAX)
    }

    /// What to do now.
    pub(crate) fn step(&mut self, facts: Facts, now: Instant) -> Step {
        let hold = self.hold();
        let Some(ejection) = &mut self.now else {
            return Step::Wait;
        };
        let served = now.saturating_duration_since(ejection.since) >= hold;
        if !served || facts.stopped || (facts.probed && !ejection.passed) {
            return Step::Wait;
        }
        let trial = match ejection.trouble {
            Trouble::Stopped => false,
            Trouble::Silent => !facts.probed,
            Trouble::Errors => true,
        };
        if !trial || !facts.retry {
            return Step::Return;
        }
        match ejection.offered {
            None => {
                ejection.offered = Some(now);
                Step::OfferTrial
            }
            Some(at) if now.saturating_duration_since(at) > TRIAL_WAIT => Step::Return,
            Some(_) => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBED: Facts = Facts {
        probed: true,
        stopped: false,
        retry: true,
    };
    const BARE: Facts = Facts {
        probed: false,
        stopped: false,
        retry: true,
    };

    fn start() -> Instant {
        Instant::now() + Duration::from_secs(1_000)
    }

    fn at(seconds: u64) -> Instant {
        thread_local!(static ZERO: Instant = start());
        ZERO.with(|zero| *zero) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_instance_returns_after_a_second_and_a_passed_probe() {
        let mut it = Ejections::default();
        it.eject(Trouble::Silent, at(0));
        assert_eq!(it.step(PROBED, at(5)), Step::Wait, "no probe has passed");
        it.pass(at(0) - Duration::from_millis(1));
        assert_eq!(
            it.step(PROBED, at(5)),
            Step::Wait,
            "that probe had begun before"
        );
        it.pass(at(0));
        assert_eq!(
            it.step(PROBED, at(0)),
            Step::Wait,
            "not before its second is over"
        );
        assert_eq!(it.step(PROBED, at(1)), Step::Return);
    }

    #[test]
    fn an_instance_with_server_errors_must_pass_a_trial_although_its_probe_passes() {
        let mut it = Ejections::default();
        it.eject(Trouble::Errors, at(0));
        it.pass(at(0));
        assert_eq!(it.step(PROBED, at(1)), Step::OfferTrial);
        assert_eq!(it.step(PROBED, at(2)), Step::Wait);
        it.fail_trial(at(2));
        it.pass(at(2));
        assert_eq!(
            it.step(PROBED, at(3)),
            Step::Wait,
            "out for two seconds now"
        );
        assert_eq!(it.step(PROBED, at(4)), Step::OfferTrial);
        assert_eq!(
            it.step(PROBED, at(40)),
            Step::Return,
            "nobody made the trial"
        );
    }

    #[test]
    fn without_a_probe_that_proves_something_a_trial_decides() {
        let mut it = Ejections::default();
        it.eject(Trouble::Silent, at(0));
        assert_eq!(it.step(BARE, at(1)), Step::OfferTrial);
        let mut it = Ejections::default();
        it.eject(Trouble::Silent, at(0));
        assert_eq!(
            it.step(
                Facts {
                    retry: false,
                    ..BARE
                },
                at(1)
            ),
            Step::Return
        );
    }

    #[test]
    fn a_stopped_instance_stays_out_as_long_as_it_is_stopped() {
        let mut it = Ejections::default();
        it.eject(Trouble::Stopped, at(0));
        it.pass(at(0));
        assert_eq!(
            it.step(
                Facts {
                    stopped: true,
                    ..PROBED
                },
                at(9)
            ),
            Step::Wait
        );
        assert_eq!(it.step(PROBED, at(9)), Step::Return);
    }

    #[test]
    fn the_time_out_of_rotation_doubles_up_to_thirty_seconds_and_is_forgiven() {
        let mut it = Ejections::default();
        let mut clock = 0;
        let mut holds = Vec::new();
        for _ in 0..7 {
            it.eject(Trouble::Silent, at(clock));
            holds.push(it.hold().as_secs());
            clock += 40;
            it.end(at(clock));
            clock += 1;
        }
        assert_eq!(holds, [1, 2, 4, 8, 16, 30, 30]);
        it.eject(Trouble::Silent, at(clock + 100));
        assert_eq!(it.hold().as_secs(), 1);
    }

    #[test]
    fn server_errors_take_out_half_at_most() {
        assert_eq!(most_out(6, Trouble::Errors), 3);
        assert_eq!(most_out(3, Trouble::Errors), 1);
        assert_eq!(most_out(2, Trouble::Errors), 1);
        assert_eq!(most_out(6, Trouble::Silent), 6);
    }

    #[test]
    fn few_instances_keep_at_least_half_of_them_when_all_answer_errors() {
        let most: Vec<usize> = (1..=6).map(|it| most_out(it, Trouble::Errors)).collect();
        // Of one it is the guard of the last usable one that keeps it.
        assert_eq!(most, [1, 1, 1, 2, 2, 3]);
        for silent in 1..=6 {
            assert_eq!(most_out(silent, Trouble::Silent), silent);
        }
    }
}
