//! What a fleet does, case by case, on real restart machines and a proxy that answers at once.

mod roles;
mod shares;
mod versions;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use grace_model::command::Outcome;
use grace_model::config::Restart;
use grace_model::id::OpId;
use grace_model::instance::{ExitCause, Role};

use super::{Action, Ask, Event, Facts, Fleet, Plan, Policy, Report, Sample};
use crate::restart::{self, Machine, Signal};

const ONE_EACH: Plan = Plan {
    active: 1,
    hot: 1,
    warm: 1,
};

fn policy(roles: bool) -> Policy {
    Policy {
        roles,
        ramp_step_ms: 100,
        leave_ms: 300,
        cut_ms: 100,
        start_timeout_ms: 2_000,
        watch_ms: 1_000,
        keep_ms: 5_000,
    }
}

fn machine(led: bool) -> Machine {
    Machine::new(restart::Policy {
        restart: Restart {
            own_max: 2,
            backoff_min_ms: 50,
            ..Restart::default()
        },
        ready_at_once: false,
        start_timeout_ms: 1_000,
        stop_timeout_ms: 200,
        drain_timeout_ms: 300,
        led,
    })
}

/// A fleet, its machines, and a world in which everything happens at once.
struct House {
    fleet: Fleet,
    roles: bool,
    machines: BTreeMap<u32, Machine>,
    alive: BTreeSet<u32>,
    /// Processes that become ready by themselves.
    well: bool,
    /// Versions whose processes end at once.
    bad: BTreeSet<u64>,
    /// SIGKILL does nothing.
    stuck: bool,
    /// The proxy says what it has closed.
    proxy: bool,
    now: u64,
    reports: Vec<Report>,
    ended: BTreeMap<String, Outcome>,
}

impl House {
    fn new(plan: Plan, roles: bool) -> Self {
        let mut house = Self {
            fleet: Fleet::new(policy(roles), plan, 1),
            roles,
            machines: BTreeMap::new(),
            alive: BTreeSet::new(),
            well: true,
            bad: BTreeSet::new(),
            stuck: false,
            proxy: true,
            now: 1_000,
            reports: Vec::new(),
            ended: BTreeMap::new(),
        };
        house.tell(Event::Tick);
        house
    }

    fn tell(&mut self, event: Event) {
        let actions = self.fleet.step(event, self.now);
        for action in actions {
            if let Some((number, event)) = action.for_instance() {
                self.give(number, event);
            }
            match action {
                Action::Report(report) => self.reports.push(report),
                Action::Finish(op, outcome) => {
                    let twice = self.ended.insert(op.0, outcome);
                    assert!(twice.is_none(), "an operation ended twice");
                }
                _ => {}
            }
        }
        self.answer_for_proxy();
    }

    fn answer_for_proxy(&mut self) {
        if !self.proxy {
            return;
        }
        let numbers: Vec<u32> = self.machines.keys().copied().collect();
        for number in numbers {
            let Some(machine) = self.machines.get(&number) else {
                continue;
            };
            let generation = machine.generation();
            if self.fleet.awaits_drained(number) {
                let leave = self.fleet.leave(number);
                self.tell(Event::Drained {
                    number,
                    generation,
                    leave,
                });
            }
            if self.machines[&number].awaits_drained() {
                self.give(number, restart::Event::Drained { generation });
            }
        }
    }

    fn give(&mut self, number: u32, event: restart::Event) {
        let led = self.roles;
        let machine = self.machines.entry(number).or_insert_with(|| machine(led));
        let actions = machine.step(event, self.now);
        let facts = Facts::of(machine);
        self.tell(Event::Seen { number, facts });
        for action in actions {
            match action {
                restart::Action::Spawn { generation } => {
                    assert!(self.alive.insert(number), "two processes of {number}");
                    self.give(number, restart::Event::Spawned);
                    let version = self.fleet.version_of(number).unwrap_or(0);
                    if self.bad.contains(&version) {
                        self.die(number, ExitCause::Code(1));
                    } else if self.well {
                        self.health(number, generation, true);
                    }
                }
                restart::Action::Signal(Signal::Kill) if !self.stuck => {
                    self.die(number, ExitCause::Signal(9));
                }
                restart::Action::Signal(Signal::Term) => self.die(number, ExitCause::Signal(15)),
                restart::Action::Finish { op, outcome } => {
                    self.ended.insert(op.0, outcome);
                }
                _ => {}
            }
        }
    }

    fn die(&mut self, number: u32, cause: ExitCause) {
        if self.alive.remove(&number) {
            self.give(number, restart::Event::Exited { cause });
        }
    }

    fn health(&mut self, number: u32, generation: u64, ok: bool) {
        let reason = "503".to_owned();
        self.give(
            number,
            restart::Event::Health {
                generation,
                ok,
                reason,
            },
        );
        if ok {
            self.tell(Event::Fresh { number, generation });
        }
    }

    fn sick(&mut self, number: u32) {
        let generation = self.machines[&number].generation();
        self.health(number, generation, false);
    }

    fn ready(&mut self, number: u32) {
        let generation = self.machines[&number].generation();
        self.health(number, generation, true);
    }

    fn sample(&mut self, number: u32, sample: Sample) {
        let generation = self.machines[&number].generation();
        self.tell(Event::Traffic {
            number,
            generation,
            sample,
        });
    }

    fn ask(&mut self, op: &str, ask: Ask) {
        let op = OpId::from(op);
        self.tell(Event::Ask { op, ask });
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let machines = self.machines.values().filter_map(Machine::deadline);
            let due = machines.chain(self.fleet.deadline()).min();
            let Some(at) = due.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            let numbers: Vec<u32> = self.machines.keys().copied().collect();
            for number in numbers {
                self.give(number, restart::Event::Tick);
            }
            self.tell(Event::Tick);
        }
        self.now = end;
    }

    fn roles(&self) -> Vec<(u32, Role)> {
        let numbers = self.fleet.numbers();
        numbers.map(|n| (n, self.fleet.role(n).unwrap())).collect()
    }

    fn active(&self) -> Vec<u32> {
        self.fleet.weights().keys().copied().collect()
    }

    fn refusal(&self, op: &str) -> &str {
        match self.ended.get(op) {
            Some(Outcome::Refused { reason, .. }) => reason,
            other => panic!("{op}: {other:?}"),
        }
    }

    fn rolled_back(&self, op: &str) -> &str {
        match self.ended.get(op) {
            Some(Outcome::TimedOut { reason }) => reason,
            other => panic!("{op}: {other:?}"),
        }
    }
}

fn good(requests: u64) -> Sample {
    Sample {
        requests,
        errors: 0,
        p99_us: 2_000,
        inflight: 1,
    }
}
