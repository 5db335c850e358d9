//! A small world around the machine: one process at most, faults at random, time that jumps.

use std::collections::BTreeSet;

use grace_model::command::{Outcome, StopMode};
use grace_model::config::Restart;
use grace_model::id::OpId;
use grace_model::instance::{ExitCause, State};
use proptest::prelude::*;

use super::{Action, Ask, Event, Found, Machine, Policy, Signal};

fn policy() -> Policy {
    Policy {
        restart: Restart {
            reflex: true,
            external_max: 4,
            own_max: 3,
            window_ms: 10_000,
            backoff_min_ms: 100,
            backoff_max_ms: 1_000,
            healthy_ms: 2_000,
        },
        ready_at_once: false,
        start_timeout_ms: 1_000,
        stop_timeout_ms: 500,
        drain_timeout_ms: 300,
        led: false,
    }
}

/// The world: whether a process lives, what it does with signals, and what was told.
struct World {
    machine: Machine,
    now: u64,
    alive: bool,
    stopped: bool,
    ignores_term: bool,
    starts: bool,
    reflexes: Vec<(u64, bool)>,
    reflex_planned: Option<bool>,
    asked: BTreeSet<String>,
    finished: Vec<(String, Outcome)>,
    exhausted: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            machine: Machine::new(policy()),
            now: 1_000_000,
            alive: false,
            stopped: false,
            ignores_term: false,
            starts: true,
            reflexes: Vec::new(),
            reflex_planned: None,
            asked: BTreeSet::new(),
            finished: Vec::new(),
            exhausted: 0,
        };
        world.give(Event::Start);
        world
    }

    fn give(&mut self, event: Event) {
        // As the supervisor does: kept, then carried out. Kept means it can be read again.
        let actions = self.machine.step(event, self.now);
        let kept = serde_json::to_string(&self.machine).unwrap();
        assert_eq!(
            serde_json::from_str::<Machine>(&kept).unwrap(),
            self.machine
        );
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn { .. } => {
                    assert!(!self.alive, "a second process while the first lives");
                    if let Some(external) = self.reflex_planned.take() {
                        self.reflexes.push((self.now, external));
                    }
                    if self.starts {
                        self.alive = true;
                        self.stopped = false;
                        self.give(Event::Spawned);
                    } else {
                        self.give(Event::SpawnFailed {
                            reason: "no such command".into(),
                        });
                    }
                }
                Action::Signal(Signal::Kill) => self.die(ExitCause::Signal(9)),
                Action::Signal(Signal::Term) => {
                    if !self.ignores_term && !self.stopped {
                        self.die(ExitCause::Signal(15));
                    }
                }
                Action::Signal(Signal::Stop) => self.stopped = true,
                Action::Signal(Signal::Continue) => {
                    self.stopped = false;
                    self.give(Event::Stopped(false));
                }
                Action::Planned { by, delay_ms } => {
                    self.reflex_planned = match by {
                        grace_model::event::RestartBy::Reflex => Some(delay_ms == 0),
                        grace_model::event::RestartBy::Operation => None,
                    };
                }
                Action::Exhausted { .. } => self.exhausted += 1,
                Action::Changed { from, to, .. } => assert_ne!(from, to),
                Action::Finish { op, outcome } => self.finished.push((op.0, outcome)),
            }
        }
    }

    fn die(&mut self, cause: ExitCause) {
        if self.alive {
            self.alive = false;
            self.give(Event::Exited { cause });
        }
    }

    fn ready(&mut self) {
        let generation = self.machine.generation();
        self.give(Event::Health {
            generation,
            ok: true,
            reason: String::new(),
        });
    }

    fn ask(&mut self, name: &str, ask: Ask) {
        self.asked.insert(name.to_owned());
        self.give(Event::Ask {
            op: OpId::from(name),
            ask,
        });
    }

    fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.finished
            .iter()
            .find(|(op, _)| op == name)
            .map(|(_, outcome)| outcome)
    }

    /// Lets time pass, going through every deadline on the way.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.give(Event::Tick);
            assert!(
                self.machine.deadline() != Some(at),
                "a deadline that does not pass"
            );
        }
        self.now = end;
        self.give(Event::Tick);
    }

    fn drained(&mut self) {
        self.give(Event::Drained {
            generation: self.machine.generation(),
        });
    }

    /// The supervisor is killed and the next one reads what was kept.
    fn supervisor_dies(&mut self) {
        let kept = serde_json::to_string(&self.machine).unwrap();
        self.machine = serde_json::from_str(&kept).unwrap();
        let found = match (self.alive, self.machine.is_up()) {
            (true, _) => Found::Running {
                stopped: self.stopped,
            },
            (false, true) => Found::Gone(ExitCause::Unknown),
            (false, false) => Found::Nothing,
        };
        let actions = self.machine.recover(&found, self.now);
        self.carry_out(actions);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Die(ExitCause),
    Ready,
    Sick,
    Stopped(bool),
    Late(bool),
    Drained,
    Ask(Ask),
    Pass(u64),
    IgnoreTerm(bool),
    Starts(bool),
    SupervisorDies,
    Retire(StopMode),
    Start,
}

fn any_step() -> impl Strategy<Value = Step> {
    let cause = prop_oneof![
        Just(ExitCause::Signal(9)),
        Just(ExitCause::Signal(15)),
        Just(ExitCause::Signal(11)),
        Just(ExitCause::Code(1)),
        Just(ExitCause::Oom),
        Just(ExitCause::Unknown),
    ];
    let mode = prop_oneof![Just(StopMode::Graceful), Just(StopMode::Kill)];
    let ask = prop_oneof![
        mode.clone().prop_map(Ask::Restart),
        Just(Ask::Pause),
        Just(Ask::Resume),
        Just(Ask::Drain),
        Just(Ask::Quarantine),
        Just(Ask::Release),
    ];
    prop_oneof![
        4 => cause.prop_map(Step::Die),
        4 => Just(Step::Ready),
        1 => Just(Step::Sick),
        1 => any::<bool>().prop_map(Step::Stopped),
        1 => any::<bool>().prop_map(Step::Late),
        2 => Just(Step::Drained),
        3 => ask.prop_map(Step::Ask),
        5 => (0u64..3_000).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::IgnoreTerm),
        1 => any::<bool>().prop_map(Step::Starts),
        1 => Just(Step::SupervisorDies),
        1 => mode.prop_map(Step::Retire),
        2 => Just(Step::Start),
    ]
}

fn run(steps: Vec<Step>) -> World {
    let mut world = World::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Die(cause) => world.die(cause),
            Step::Ready if world.alive && !world.stopped => world.ready(),
            Step::Ready => {}
            Step::Sick => {
                let generation = world.machine.generation();
                world.give(Event::Health {
                    generation,
                    ok: false,
                    reason: "503".into(),
                });
            }
            Step::Stopped(stopped) if world.alive => {
                world.stopped = stopped;
                world.give(Event::Stopped(stopped));
            }
            Step::Stopped(_) => {}
            Step::Late(late) => world.give(Event::HeartbeatLate(late)),
            Step::Drained => world.drained(),
            Step::Ask(ask) => world.ask(&format!("op-{number}"), ask),
            Step::Pass(ms) => world.pass(ms),
            Step::IgnoreTerm(ignores) => world.ignores_term = ignores,
            Step::Starts(starts) => world.starts = starts,
            Step::SupervisorDies => world.supervisor_dies(),
            Step::Retire(mode) => {
                world.reflex_planned = None;
                world.give(Event::Retire(mode));
            }
            Step::Start => world.give(Event::Start),
        }
    }
    world
}

fn most_in_any_window(times: &[u64], window_ms: u64) -> usize {
    times
        .iter()
        .map(|end| {
            times
                .iter()
                .filter(|t| **t <= *end && **t + window_ms > *end)
                .count()
        })
        .max()
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_reflex_never_restarts_more_often_than_its_budgets(
        steps in proptest::collection::vec(any_step(), 1..120)
    ) {
        let world = run(steps);
        let of = |external: bool| -> Vec<u64> {
            world.reflexes.iter().filter(|(_, e)| *e == external).map(|(t, _)| *t).collect()
        };
        prop_assert!(most_in_any_window(&of(true), 10_000) <= 4);
        prop_assert!(most_in_any_window(&of(false), 10_000) <= 3);
    }

    #[test]
    fn when_faults_stop_it_comes_to_rest_and_every_operation_has_ended(
        steps in proptest::collection::vec(any_step(), 1..120)
    ) {
        let mut world = run(steps);
        world.starts = true;
        world.ignores_term = false;
        for _ in 0..6 {
            world.pass(30_000);
            if world.alive && !world.stopped {
                world.ready();
                world.give(Event::HeartbeatLate(false));
            }
        }
        let finished: BTreeSet<String> = world.finished.iter().map(|(op, _)| op.clone()).collect();
        prop_assert_eq!(finished.len(), world.finished.len(), "an operation ended twice");
        prop_assert_eq!(&finished, &world.asked);
        let state = world.machine.state();
        prop_assert!(state != State::Starting, "{:?}", world.machine);
        prop_assert_eq!(world.machine.deadline(), None);
        prop_assert_eq!(world.alive, world.machine.is_up());
    }
}

#[test]
fn a_death_from_outside_is_answered_at_once_and_others_wait_longer_each_time() {
    let mut world = World::new();
    world.ready();
    world.die(ExitCause::Signal(9));
    assert!(world.alive, "in the same step");
    assert_eq!(world.machine.generation(), 2);
    for delay in [100, 200, 400] {
        world.die(ExitCause::Code(1));
        assert_eq!(world.machine.deadline(), Some(world.now + delay));
        world.pass(delay);
        assert!(world.alive);
    }
    world.die(ExitCause::Code(1));
    assert_eq!(world.machine.state(), State::Failed);
    assert_eq!(world.exhausted, 1);
    assert!(world.machine.reason().contains("given up after 3 restarts"));
}

#[test]
fn good_health_resets_the_backoff() {
    let mut world = World::new();
    world.die(ExitCause::Code(1));
    world.pass(100);
    world.ready();
    world.pass(2_000);
    world.die(ExitCause::Code(1));
    assert_eq!(world.machine.deadline(), Some(world.now + 100));
}

#[test]
fn a_start_that_never_gets_ready_is_ended_and_counts_as_a_death_of_its_own() {
    let mut world = World::new();
    world.pass(1_000);
    assert!(!world.alive);
    assert_eq!(world.machine.state(), State::Starting);
    assert!(
        world
            .machine
            .reason()
            .contains("not ready 1000 ms after its start")
    );
    assert_eq!(world.machine.deadline(), Some(world.now + 100));
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let mut world = World::new();
    world.ready();
    world.ignores_term = true;
    world.ask("r", Ask::Restart(StopMode::Graceful));
    assert_eq!(world.machine.state(), State::Draining);
    assert!(!world.machine.fenced());
    world.drained();
    assert!(world.alive && world.machine.fenced());
    assert_eq!(world.machine.generation(), 1);
    world.pass(500);
    assert_eq!(world.machine.generation(), 2);
    assert_eq!(world.outcome("r"), Some(&Outcome::Done { number: 2 }));
}

#[test]
fn a_stopped_process_is_killed_without_a_sigterm_that_never_arrives() {
    let mut world = World::new();
    world.ready();
    world.stopped = true;
    world.give(Event::Stopped(true));
    assert_eq!(world.machine.state(), State::Degraded);
    world.ask("r", Ask::Restart(StopMode::Graceful));
    world.drained();
    assert_eq!(world.outcome("r"), Some(&Outcome::Done { number: 2 }));
}

#[test]
fn a_pause_waits_for_traffic_then_stops_and_resume_puts_back() {
    let mut world = World::new();
    world.ready();
    world.ask("p", Ask::Pause);
    assert!(!world.stopped);
    world.drained();
    assert!(world.stopped);
    assert_eq!(world.machine.state(), State::Paused);
    world.ask("again", Ask::Pause);
    assert_eq!(world.outcome("again"), Some(&Outcome::Done { number: 0 }));
    world.ask("r", Ask::Resume);
    assert_eq!(world.machine.state(), State::Ready);
    assert_eq!(world.outcome("r"), Some(&Outcome::Done { number: 0 }));
}

#[test]
fn a_drain_that_does_not_end_is_timed_out_and_release_puts_back() {
    let mut world = World::new();
    world.ready();
    world.ask("d", Ask::Drain);
    world.pass(300);
    assert!(matches!(world.outcome("d"), Some(Outcome::TimedOut { .. })));
    assert_eq!(world.machine.state(), State::Draining);
    world.ask("r", Ask::Release);
    assert_eq!(world.machine.state(), State::Ready);
}

#[test]
fn a_quarantine_outlives_the_reflex_and_ends_with_a_restart() {
    let mut world = World::new();
    world.ready();
    world.ask("q", Ask::Quarantine);
    world.die(ExitCause::Signal(9));
    world.pass(0);
    world.ready();
    assert_eq!(world.machine.state(), State::Quarantined);
    world.ask("r", Ask::Restart(StopMode::Kill));
    world.drained();
    world.ready();
    assert_eq!(world.machine.state(), State::Ready);
}

#[test]
fn what_was_drained_already_is_restarted_without_waiting_again() {
    let mut world = World::new();
    world.ready();
    world.ask("d", Ask::Drain);
    world.drained();
    world.ask("r", Ask::Restart(StopMode::Graceful));
    assert_eq!(world.outcome("r"), Some(&Outcome::Done { number: 2 }));
}

#[test]
fn an_instance_that_was_given_up_can_be_restarted_by_an_operation() {
    let mut world = World::new();
    world.starts = false;
    world.die(ExitCause::Code(127));
    world.pass(20_000);
    assert_eq!(world.machine.state(), State::Failed);
    world.starts = true;
    world.ask("r", Ask::Restart(StopMode::Graceful));
    assert!(world.alive);
    assert!(matches!(world.outcome("r"), Some(Outcome::Done { .. })));
}

#[test]
fn without_the_reflex_a_death_is_final() {
    let mut machine = Machine::new(Policy {
        restart: Restart {
            reflex: false,
            ..policy().restart
        },
        ..policy()
    });
    machine.step(Event::Start, 0);
    machine.step(Event::Spawned, 0);
    machine.step(
        Event::Exited {
            cause: ExitCause::Signal(9),
        },
        5,
    );
    assert_eq!(machine.state(), State::Failed);
    assert_eq!(machine.deadline(), None);
}

#[test]
fn a_stall_of_the_judge_is_no_failed_start() {
    let mut world = World::new();
    world.now += 5_000;
    world.give(Event::Stalled { late_ms: 5_000 });
    assert!(world.alive);
    assert_eq!(world.machine.state(), State::Starting);
}

#[test]
fn a_new_supervisor_goes_on_with_a_restart_that_was_begun() {
    let mut world = World::new();
    world.ready();
    world.ask("r", Ask::Restart(StopMode::Graceful));
    world.supervisor_dies();
    assert!(world.alive, "no second effect by itself");
    world.drained();
    assert_eq!(world.outcome("r"), Some(&Outcome::Done { number: 2 }));
}

#[test]
fn a_fork_that_nobody_recorded_is_made_again_under_a_new_number() {
    let mut machine = Machine::new(policy());
    assert_eq!(
        machine.step(Event::Start, 0).first(),
        Some(&Action::Spawn { generation: 1 })
    );
    let again = machine.recover(&Found::Nothing, 10);
    assert_eq!(again.first(), Some(&Action::Spawn { generation: 2 }));
    machine.recover(&Found::Running { stopped: false }, 20);
    assert!(machine.is_up());
}
