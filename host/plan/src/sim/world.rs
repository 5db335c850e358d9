//! The simulated world: processes, the line between supervisor and proxy, and the supervisor
//! as a loop around fleet and machines. After every event it checks what must never be.

use std::collections::VecDeque;

use fastrand::Rng;
use grace_model::id::OpId;
use grace_model::instance::{ExitCause, State};

use super::proxy::{Proxy, Table};
use crate::fleet::{self, Fleet, Plan, Sample, WHOLE};
use crate::restart::{self, Machine};

/// Time between two looks of the proxy at everything.
const TICK_MS: u64 = 500;

/// A process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub generation: u64,
    pub healthy: bool,
    pub stopped: bool,
    pub ignores_term: bool,
    /// SIGKILL does not end it.
    pub stuck: bool,
    /// SIGKILL waits for it.
    pub killed: bool,
    /// It goes on with requests that were cut off.
    pub works_on: bool,
}

/// An instance of the world.
#[derive(Debug)]
pub(super) struct Node {
    pub machine: Machine,
    pub process: Option<Process>,
    /// A death that the supervisor has not been told of.
    pub dead: Option<(u64, ExitCause)>,
    /// New processes start, and get healthy.
    pub starts: bool,
    pub well: bool,
    pub reflex: Option<bool>,
    pub restarts: [VecDeque<u64>; 2],
}

/// Something on its way.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Table(u64, Table),
    Health(u32, u64, bool),
    Drained(u32, u64, u64),
    Exited(u32, u64),
    KernelStopped(u32, u64, bool),
    Traffic(u32, u64, Sample),
    ProxyGone,
    ProxyUp,
    ProxyTick,
}

pub(super) struct World {
    pub rng: Rng,
    pub now: u64,
    pub fleet: Fleet,
    pub plan: Plan,
    pub nodes: Vec<Option<Node>>,
    pub proxy: Proxy,
    pub proxy_gone: bool,
    /// No fault any more.
    pub calm: bool,
    /// The most that may answer at once; none: any number.
    pub limit: Option<usize>,
    pub ended: Vec<bool>,
    pub problem: Option<String>,
    pub events: u64,
    pub policy: restart::Policy,
    pub line: Vec<(u64, u64, Word)>,
    sent: u64,
    pub queue: VecDeque<(u32, restart::Event)>,
    pub table: Table,
    /// The supervisor is killed after so many more effects.
    pub crash_in: Option<u32>,
}

impl World {
    pub(super) fn new(
        seed: u64,
        fleet: Fleet,
        policy: restart::Policy,
        limit: Option<usize>,
    ) -> Self {
        let plan = fleet.plan();
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: 1_000_000,
            fleet,
            plan,
            nodes: Vec::new(),
            proxy: Proxy {
                alive: true,
                incarnation: 1,
                ..Proxy::default()
            },
            proxy_gone: false,
            calm: false,
            limit,
            ended: Vec::new(),
            problem: None,
            events: 0,
            policy,
            line: Vec::new(),
            sent: 0,
            queue: VecDeque::new(),
            table: Table {
                version: 0,
                lines: Vec::new(),
            },
            crash_in: None,
        };
        world.put(TICK_MS, Word::ProxyTick);
        world.tell_fleet(fleet::Event::Tick);
        world.settle();
        world
    }

    pub(super) fn node(&mut self, number: u32) -> Option<&mut Node> {
        self.nodes.get_mut(number as usize)?.as_mut()
    }

    pub(super) fn fail(&mut self, problem: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(problem());
        }
    }

    /// Puts a word on the line that always arrives.
    pub(super) fn put(&mut self, after: u64, word: Word) {
        self.sent += 1;
        self.line.push((self.now + after, self.sent, word));
    }

    /// Puts a word on the line between proxy and supervisor: late, lost, doubled.
    pub(super) fn send(&mut self, word: Word) {
        if self.calm {
            self.put(1, word);
            return;
        }
        let dice = self.rng.u32(0..100);
        let delay = |rng: &mut Rng| match rng.u32(0..100) {
            0..80 => rng.u64(0..20),
            80..95 => rng.u64(0..400),
            _ => rng.u64(0..4_000),
        };
        if dice < 8 {
            return;
        }
        if dice < 18 {
            let after = delay(&mut self.rng);
            self.put(after, word.clone());
        }
        let after = delay(&mut self.rng);
        self.put(after, word);
    }

    /// Lets time pass, through everything that is due on the way.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.problem.is_none() {
            let word = self
                .line
                .iter()
                .enumerate()
                .min_by_key(|(_, (at, sent, _))| (*at, *sent))
                .map(|(place, (at, _, _))| (*at, place));
            let mut due = self.fleet.deadline();
            for node in self.nodes.iter().flatten() {
                due = match (due, node.machine.deadline()) {
                    (Some(one), Some(two)) => Some(one.min(two)),
                    (one, two) => one.or(two),
                };
            }
            let next_word = word.map_or(u64::MAX, |(at, _)| at);
            let next_due = due.unwrap_or(u64::MAX);
            if next_word.min(next_due) > end {
                break;
            }
            self.events += 1;
            if let (Some((at, place)), true) = (word, next_word <= next_due) {
                self.now = self.now.max(at);
                let (_, _, word) = self.line.swap_remove(place);
                self.hear(word);
            } else {
                self.now = self.now.max(next_due);
                self.tick();
            }
            self.check();
        }
        self.now = end;
    }

    fn tick(&mut self) {
        let now = self.now;
        let before = (self.fleet.deadline(), self.queue.len());
        for number in 0..self.nodes.len() {
            let due = self.nodes.get(number).and_then(Option::as_ref);
            if due.is_some_and(|node| node.machine.deadline().is_some_and(|at| at <= now)) {
                self.queue.push_back((number as u32, restart::Event::Tick));
            }
        }
        self.tell_fleet(fleet::Event::Tick);
        let queued = !self.queue.is_empty();
        self.settle();
        let stands = self.fleet.deadline().is_some_and(|at| at <= now);
        if stands && !queued && before.0 == self.fleet.deadline() {
            self.fail(|| "a deadline of the fleet does not pass".to_owned());
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Table(incarnation, table) => {
                if self.proxy.alive && incarnation == self.proxy.incarnation {
                    for (number, generation) in self.proxy.take(&table) {
                        // One that nobody ends was paused or drained by an operator, who
                        // left it running with what it has.
                        let ended = self.node(number).filter(|node| node.machine.is_ending());
                        let process = ended.and_then(|node| node.process.as_mut());
                        if let Some(process) = process.filter(|p| p.generation == generation) {
                            process.works_on = true;
                        }
                    }
                    self.say_drained();
                }
            }
            Word::Health(number, generation, ok) => {
                let reason = String::new();
                self.give(
                    number,
                    restart::Event::Health {
                        generation,
                        ok,
                        reason,
                    },
                );
                if ok {
                    self.tell_fleet(fleet::Event::Fresh { number, generation });
                }
            }
            Word::Drained(number, generation, leave) => {
                self.tell_fleet(fleet::Event::Drained {
                    number,
                    generation,
                    leave,
                });
                self.give(number, restart::Event::Drained { generation });
            }
            Word::Exited(number, generation) => {
                let dead = self.node(number).and_then(|node| {
                    let same = node.dead.as_ref().is_some_and(|dead| dead.0 == generation);
                    same.then(|| node.dead.take()).flatten()
                });
                if let Some((_, cause)) = dead {
                    self.give(number, restart::Event::Exited { cause });
                }
            }
            Word::KernelStopped(number, generation, stopped) => {
                let same = self
                    .node(number)
                    .and_then(|node| node.process)
                    .is_some_and(|process| process.generation == generation);
                if same {
                    self.give(number, restart::Event::Stopped(stopped));
                }
            }
            Word::Traffic(number, generation, sample) => self.tell_fleet(fleet::Event::Traffic {
                number,
                generation,
                sample,
            }),
            Word::ProxyGone => {
                self.proxy_gone = true;
                self.put(40, Word::ProxyUp);
            }
            Word::ProxyUp => {
                self.proxy.alive = true;
                self.proxy.incarnation += 1;
                self.proxy_gone = false;
                let table = Word::Table(self.proxy.incarnation, self.table.clone());
                self.put(1, table);
            }
            Word::ProxyTick => {
                self.put(TICK_MS, Word::ProxyTick);
                self.proxy_tick();
            }
        }
        self.settle();
    }

    /// The proxy says again what may have been lost.
    fn proxy_tick(&mut self) {
        if !self.proxy.alive {
            return;
        }
        if self.proxy.version < self.table.version {
            let table = Word::Table(self.proxy.incarnation, self.table.clone());
            self.send(table);
        }
        for place in 0..self.proxy.held.len() {
            let Some(held) = self.proxy.held.get(place).copied() else {
                continue;
            };
            let (number, generation) = (held.line.number, held.line.generation);
            let running = self
                .node(number)
                .and_then(|node| node.process)
                .filter(|process| process.generation == generation);
            if let Some(process) = running {
                let healthy = process.healthy && !process.stopped;
                let known = held.line.state == State::Ready;
                if healthy != known && !held.line.leaving {
                    self.send(Word::Health(number, generation, healthy));
                }
                if held.routable() && !self.calm && self.rng.u32(0..10) == 0 {
                    let bad = !healthy || self.rng.u32(0..8) == 0;
                    let sample = Sample {
                        requests: 100,
                        errors: if bad { 50 } else { 0 },
                        p99_us: self.rng.u64(1_000..100_000),
                        inflight: u64::from(held.inflight),
                    };
                    self.send(Word::Traffic(number, generation, sample));
                }
            }
        }
        self.say_drained();
    }

    fn say_drained(&mut self) {
        for place in 0..self.proxy.held.len() {
            let Some(held) = self.proxy.held.get(place).copied() else {
                continue;
            };
            if (held.line.leaving || held.line.cut) && held.inflight == 0 {
                let line = held.line;
                self.send(Word::Drained(line.number, line.generation, line.leave));
            }
        }
    }

    pub(super) fn give(&mut self, number: u32, event: restart::Event) {
        self.queue.push_back((number, event));
    }

    /// Has the fleet hear something, and its wishes go to the machines.
    pub(super) fn tell_fleet(&mut self, event: fleet::Event) {
        let actions = self.fleet.step(event, self.now);
        for action in actions {
            if let fleet::Action::Assign(number, _) | fleet::Action::Start(number) = &action {
                self.make_node(*number);
            }
            if let Some((number, event)) = action.for_instance() {
                if let (restart::Event::Retire(_), Some(node)) = (&event, self.node(number)) {
                    node.reflex = None;
                }
                self.give(number, event);
            }
            if let fleet::Action::Finish(op, outcome) = action {
                self.finish(&op, &outcome);
            }
        }
    }

    fn make_node(&mut self, number: u32) {
        while self.nodes.len() <= number as usize {
            self.nodes.push(None);
        }
        let policy = self.policy.clone();
        if let Some(place) = self.nodes.get_mut(number as usize)
            && place.is_none()
        {
            *place = Some(Node {
                machine: Machine::new(policy),
                process: None,
                dead: None,
                starts: true,
                well: true,
                reflex: None,
                restarts: [VecDeque::new(), VecDeque::new()],
            });
        }
    }

    pub(super) fn new_op(&mut self) -> OpId {
        self.ended.push(false);
        OpId::from((self.ended.len() - 1).to_string())
    }

    /// What must never be.
    pub(super) fn check(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            // What an operator holds is out at the proxy; it is left running.
            if let Some(process) = node.process.as_mut().filter(|_| node.machine.is_held()) {
                process.works_on = false;
            }
        }
        let sum: u32 = self.fleet.weights().values().sum();
        if sum != 0 && sum != WHOLE {
            self.fail(|| format!("weights sum to {sum}"));
        }
        let mut answering = 0;
        let mut out = None;
        for held in &self.proxy.held {
            let line = held.line;
            let node = self
                .nodes
                .get(line.number as usize)
                .and_then(Option::as_ref);
            let Some(node) = node else { continue };
            let Some(process) = node.process.filter(|p| p.generation == line.generation) else {
                continue;
            };
            // What SIGKILL does not end is out at the proxy only.
            let acts = process.works_on && !process.stuck;
            if !acts && !held.may_answer() {
                continue;
            }
            answering += 1;
            let shut = self.fleet.is_shut(line.number, line.generation);
            if self.limit.is_some() && shut {
                out = Some(line.number);
            }
        }
        if let Some(limit) = self.limit.filter(|limit| answering > *limit) {
            self.fail(|| format!("{answering} may answer where {limit} are active"));
        }
        if let Some(number) = out {
            self.fail(|| format!("instance {number} is taken for out and may answer"));
        }
    }

    /// Whether words are on their way, beside the proxy's clock.
    pub(super) fn is_quiet(&self) -> bool {
        self.line
            .iter()
            .all(|(_, _, word)| matches!(word, Word::ProxyTick))
            && self.nodes.iter().flatten().all(|node| node.dead.is_none())
    }
}
