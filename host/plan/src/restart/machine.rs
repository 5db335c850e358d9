//! The machine's views and its step. How processes end is in `ending`, operations in `asks`.

use std::collections::VecDeque;

use grace_model::command::StopMode;
use grace_model::instance::State;

use super::{
    Action, Budget, Charge, EndStep, Event, Found, Hold, Machine, Next, Phase, Policy, Signal, Up,
};

impl Machine {
    /// An instance that has never run.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            backoff_ms: policy.restart.backoff_min_ms,
            policy,
            phase: Phase::Down {
                retry_at: None,
                failed: false,
            },
            hold: Hold::Free,
            generation: 0,
            retired: None,
            external: Budget::default(),
            own: Budget::default(),
            charge: None,
            owed: None,
            deaths: 0,
            current: None,
            waiting: VecDeque::new(),
            reason: String::new(),
            told: State::Stopped,
        }
    }

    /// Takes a policy that was read anew.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Numbers the next process above `generation`, which was used before.
    pub fn start_above(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }

    /// The number of the newest process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a process runs, as far as is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Whether a start was asked for and not answered.
    #[must_use]
    pub fn is_spawning(&self) -> bool {
        matches!(self.phase, Phase::Spawning)
    }

    /// Whether its process is being ended on purpose.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(&self.phase, Phase::Up(up) if up.ending.is_some())
    }

    /// Whether its process, or the one that was just asked for, is to go and not to be followed by
    /// another.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.retired.is_some() || self.is_ending()
    }

    /// Whether an operation keeps it from traffic.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !matches!(self.hold, Hold::Free)
    }

    /// Whether its process died and the budget has still to pay for the next one.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.is_some() || self.charge.is_some()
    }

    /// Deaths and failed starts that nobody asked for, ever.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.deaths
    }

    /// Whether SIGSTOP was Grace's own doing.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_up() && matches!(self.hold, Hold::Paused)
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Down { failed: true, .. } => State::Failed,
            Phase::Down { retry_at: None, .. } => State::Stopped,
            Phase::Down { .. } | Phase::Spawning => State::Starting,
            Phase::Up(up) if up.ending.is_some() => State::Draining,
            Phase::Up(up) => match self.hold {
                Hold::Draining(_) | Hold::Pausing(_) => State::Draining,
                Hold::Quarantined => State::Quarantined,
                Hold::Paused | Hold::Resuming(_) => State::Paused,
                Hold::Free if up.in_health() => State::Ready,
                Hold::Free if up.was_ready => State::Degraded,
                Hold::Free => State::Starting,
            },
        }
    }

    /// Whether no connection to the process may stay open.
    #[must_use]
    pub fn fenced(&self) -> bool {
        match &self.phase {
            Phase::Up(up) => match &up.ending {
                Some(ending) => !matches!(
                    ending.step,
                    EndStep::Traffic {
                        mode: StopMode::Graceful,
                        ..
                    }
                ),
                None => matches!(self.hold, Hold::Paused | Hold::Resuming(_)),
            },
            Phase::Down { .. } | Phase::Spawning => false,
        }
    }

    /// Whether it waits to hear that no request is in flight.
    #[must_use]
    pub fn awaits_drained(&self) -> bool {
        match &self.phase {
            Phase::Up(up) => match &up.ending {
                Some(ending) => matches!(ending.step, EndStep::Traffic { .. }),
                None => matches!(self.hold, Hold::Draining(Some(_)) | Hold::Pausing(_)),
            },
            Phase::Down { .. } | Phase::Spawning => false,
        }
    }

    /// Why it is not ready; empty when it is.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.phase {
            Phase::Up(up) if up.ending.is_none() && matches!(self.hold, Hold::Free) => up.reason(),
            _ => &self.reason,
        }
    }

    /// When `Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match &self.phase {
            Phase::Down { retry_at, .. } => *retry_at,
            Phase::Spawning => None,
            Phase::Up(up) => match &up.ending {
                Some(ending) => ending.step.until(),
                None => [self.hold.until(), up.start_by].into_iter().flatten().min(),
            },
        }
    }

    /// Takes one event. The caller keeps the machine before it carries out the actions.
    pub fn step(&mut self, event: Event, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Start => self.start(now, &mut out),
            Event::Retire(mode) => self.retire(mode, now, &mut out),
            Event::Fence => self.fence(now, &mut out),
            Event::Renew => self.renew(now, &mut out),
            Event::Spawned => self.spawned(now, &mut out),
            Event::SpawnFailed { reason } => self.spawn_failed(reason, now, &mut out),
            Event::Health {
                generation,
                ok,
                reason,
            } => {
                if let (true, Phase::Up(up)) = (generation == self.generation, &mut self.phase) {
                    up.ready = ok;
                    up.reason = reason;
                }
            }
            Event::Stopped(stopped) => self.kernel_stopped(stopped, &mut out),
            Event::HeartbeatLate(late) => {
                if let Phase::Up(up) = &mut self.phase {
                    up.late = late;
                }
            }
            Event::Drained { generation } => {
                if generation == self.generation {
                    self.drained(now, &mut out);
                }
            }
            Event::Exited { cause } => self.exited(&cause, now, &mut out),
            Event::Ask { op, ask } => self.ask(op, ask, now, &mut out),
            Event::Stalled { late_ms } => self.forgive(late_ms),
            Event::Tick => {}
        }
        self.pass_time(now, &mut out);
        self.note_health(now);
        self.take_up(now, &mut out);
        self.note_health(now);
        self.tell(&mut out);
        out
    }

    /// What a new supervisor does first: compares what was kept with what is there, and says
    /// again what may have been said to nobody.
    pub fn recover(&mut self, found: &Found, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let stop_timeout_ms = self.policy.stop_timeout_ms;
        let start_timeout_ms = self.policy.start_timeout_ms;
        match (&mut self.phase, found) {
            (Phase::Spawning, Found::Running { stopped }) => {
                self.spawned(now, &mut out);
                if let Phase::Up(up) = &mut self.phase {
                    up.stopped = *stopped;
                }
            }
            (Phase::Spawning, Found::Gone(cause)) => {
                self.spawned(now, &mut out);
                self.exited(cause, now, &mut out);
            }
            // The fork never happened, or died unseen: the number is not used again.
            (Phase::Spawning, Found::Nothing) => self.spawn(&mut out),
            (Phase::Up(up), Found::Running { stopped }) => {
                up.stopped = *stopped;
                up.late = false;
                if up.start_by.is_some() {
                    up.start_by = Some(now.saturating_add(start_timeout_ms));
                }
                match up.ending.as_mut().map(|ending| &mut ending.step) {
                    Some(EndStep::Term { until }) => {
                        *until = now.saturating_add(stop_timeout_ms);
                        out.push(Action::Signal(Signal::Term));
                    }
                    Some(EndStep::Kill { .. }) => out.push(Action::Signal(Signal::Kill)),
                    Some(EndStep::Traffic { .. }) => {}
                    None => match self.hold {
                        Hold::Paused if !*stopped => out.push(Action::Signal(Signal::Stop)),
                        Hold::Resuming(_) => {
                            self.hold = Hold::Resuming(now.saturating_add(super::RESUME_MS));
                            out.push(Action::Signal(Signal::Continue));
                        }
                        _ => {}
                    },
                }
            }
            (Phase::Up(_), Found::Gone(cause)) => self.exited(cause, now, &mut out),
            (Phase::Up(_), Found::Nothing) => {
                self.exited(&grace_model::instance::ExitCause::Unknown, now, &mut out);
            }
            (Phase::Down { .. }, _) => {}
        }
        self.note_health(now);
        self.take_up(now, &mut out);
        self.tell(&mut out);
        out
    }

    /// A planned restart keeps its time, and what was given up stays so until an operation.
    fn start(&mut self, now: u64, out: &mut Vec<Action>) {
        self.retired = None;
        match &mut self.phase {
            Phase::Down {
                retry_at: None,
                failed: false,
            } => match self.owed.take() {
                Some(charge) => {
                    let reason = self.reason.clone();
                    self.plan_restart(charge, &reason, now, out);
                }
                None => self.spawn(out),
            },
            Phase::Down { .. } | Phase::Spawning => {}
            Phase::Up(up) => {
                if let Some(ending) = up.ending.as_mut().filter(|e| e.next == Next::Rest) {
                    ending.next = Next::Restart;
                }
            }
        }
    }

    /// Asks for a process. Only ever called when there is none.
    pub(super) fn spawn(&mut self, out: &mut Vec<Action>) {
        self.generation += 1;
        self.phase = Phase::Spawning;
        out.push(Action::Spawn {
            generation: self.generation,
        });
    }

    fn spawned(&mut self, now: u64, out: &mut Vec<Action>) {
        if !self.is_spawning() {
            return;
        }
        let at_once = self.policy.ready_at_once;
        self.phase = Phase::Up(Up {
            start_by: (!at_once).then(|| now.saturating_add(self.policy.start_timeout_ms)),
            ready: at_once,
            was_ready: at_once,
            reason: if at_once {
                String::new()
            } else {
                "waiting for readiness".to_owned()
            },
            stopped: false,
            late: false,
            idle: false,
            healthy_since: None,
            ending: None,
        });
        self.finish_restart(out);
        if let Some(mode) = self.retired.take() {
            self.end(mode, Next::Rest, now, out);
        }
    }

    fn spawn_failed(&mut self, reason: String, now: u64, out: &mut Vec<Action>) {
        if !self.is_spawning() {
            return;
        }
        self.fail_restart(&reason, out);
        self.reason.clone_from(&reason);
        if self.retired.take().is_some() {
            self.phase = Phase::Down {
                retry_at: None,
                failed: false,
            };
            return;
        }
        self.reflex(Charge::Own, &reason, now, out);
    }

    fn kernel_stopped(&mut self, stopped: bool, out: &mut Vec<Action>) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.stopped = stopped;
        if !stopped && matches!(self.hold, Hold::Resuming(_)) {
            self.go_free();
            self.finish(0, out);
        }
    }

    fn forgive(&mut self, late_ms: u64) {
        if let Phase::Up(up) = &mut self.phase {
            up.start_by = up.start_by.map(|at| at.saturating_add(late_ms));
        }
    }

    fn pass_time(&mut self, now: u64, out: &mut Vec<Action>) {
        match &self.phase {
            Phase::Down {
                retry_at: Some(at), ..
            } if *at <= now => {
                self.spend(now);
                self.spawn(out);
            }
            Phase::Up(up) if up.ending.is_some() => self.escalate(now, out),
            Phase::Up(up) => {
                // Readiness that came in this very step wins over its deadline.
                if up.start_by.is_some_and(|at| at <= now) && !up.in_health() {
                    self.start_timed_out(now, out);
                } else if self.hold.until().is_some_and(|at| at <= now) {
                    self.hold_timed_out(out);
                }
            }
            Phase::Down { .. } | Phase::Spawning => {}
        }
    }

    fn note_health(&mut self, now: u64) {
        let healthy_ms = self.policy.restart.healthy_ms;
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if up.in_health() {
            up.was_ready = true;
            up.start_by = None;
            let since = *up.healthy_since.get_or_insert(now);
            if now.saturating_sub(since) >= healthy_ms {
                self.backoff_ms = self.policy.restart.backoff_min_ms;
            }
        } else if let Some(since) = up.healthy_since.take()
            && now.saturating_sub(since) >= healthy_ms
        {
            self.backoff_ms = self.policy.restart.backoff_min_ms;
        }
    }

    fn tell(&mut self, out: &mut Vec<Action>) {
        let to = self.state();
        if to != self.told {
            let reason = self.reason().to_owned();
            out.push(Action::Changed {
                from: self.told,
                to,
                reason,
            });
            self.told = to;
        }
    }
}

impl Up {
    pub(super) fn in_health(&self) -> bool {
        self.ready && !self.stopped && !self.late
    }

    /// Why it is unhealthy.
    pub(super) fn told_reason(&self) -> &str {
        match self.reason() {
            "" => "asked for",
            reason => reason,
        }
    }

    fn reason(&self) -> &str {
        if self.stopped {
            "its process is stopped"
        } else if self.late {
            "its heartbeat is late"
        } else if self.ready {
            ""
        } else {
            &self.reason
        }
    }
}

impl EndStep {
    fn until(&self) -> Option<u64> {
        match self {
            EndStep::Traffic { until, .. } | EndStep::Term { until } => Some(*until),
            EndStep::Kill { until } => *until,
        }
    }
}

impl Hold {
    pub(super) fn until(&self) -> Option<u64> {
        match self {
            Hold::Draining(until) => *until,
            Hold::Pausing(until) | Hold::Resuming(until) => Some(*until),
            Hold::Free | Hold::Quarantined | Hold::Paused => None,
        }
    }
}
