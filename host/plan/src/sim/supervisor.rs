//! The supervisor of the simulated world: a loop around fleet and machines in the order of the
//! real one. What is decided is kept, the proxy is told, and only then processes are touched;
//! it can be killed before any effect.

use grace_model::command::Outcome;
use grace_model::event::RestartBy;
use grace_model::id::OpId;
use grace_model::instance::{ExitCause, State};

use super::proxy::{Line, Table};
use super::world::{Process, Word, World};
use crate::fleet::{self, Facts};
use crate::restart::{self, Action, Found, Signal};

impl World {
    /// The supervisor's loop: machines are stepped, the fleet sees each, the table is told.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some((number, event)) = self.queue.pop_front() {
                let now = self.now;
                let Some(node) = self.node(number) else {
                    continue;
                };
                let actions = node.machine.step(event, now);
                let facts = Facts::of(&node.machine);
                self.tell_fleet(fleet::Event::Seen { number, facts });
                // As the supervisor does: the proxy is told, then processes are touched.
                self.publish();
                // What is kept and journalled comes before every effect.
                let (told, effects): (Vec<Action>, Vec<Action>) = actions
                    .into_iter()
                    .partition(|a| !matches!(a, Action::Spawn { .. } | Action::Signal(_)));
                for action in told {
                    self.carry_out(number, action);
                }
                for action in effects {
                    if let Some(left) = &mut self.crash_in {
                        if *left == 0 {
                            self.crash_in = None;
                            self.supervisor_dies();
                            return;
                        }
                        *left -= 1;
                    }
                    self.carry_out(number, action);
                }
            }
            self.publish();
            if self.proxy_gone {
                for number in 0..self.nodes.len() as u32 {
                    let Some(node) = self.node(number) else {
                        continue;
                    };
                    let generation = node.machine.generation();
                    let awaits = node.machine.awaits_drained();
                    if self.fleet.awaits_drained(number) {
                        let leave = self.fleet.leave(number);
                        self.tell_fleet(fleet::Event::Drained {
                            number,
                            generation,
                            leave,
                        });
                    }
                    if awaits {
                        self.give(number, restart::Event::Drained { generation });
                    }
                }
            }
            self.forget_gone();
            if self.queue.is_empty() {
                return;
            }
        }
    }

    /// Instances that are no part of the service and have ended.
    fn forget_gone(&mut self) {
        for number in 0..self.nodes.len() {
            let wanted = self.fleet.wants(number as u32);
            let asked = self.queue.iter().any(|(of, _)| *of as usize == number);
            if let Some(place) = self.nodes.get_mut(number)
                && place.as_ref().is_some_and(|node| {
                    !wanted
                        && !asked
                        && node.process.is_none()
                        && node.machine.state() == State::Stopped
                })
            {
                *place = None;
            }
        }
    }

    fn publish(&mut self) {
        let mut lines = Vec::with_capacity(self.nodes.len());
        for (number, node) in self.nodes.iter().enumerate() {
            let (Some(node), number) = (node, number as u32) else {
                continue;
            };
            let state = node.machine.state();
            lines.push(Line {
                number,
                generation: node.machine.generation(),
                state,
                weight: self.fleet.weights().get(&number).copied().unwrap_or(0),
                leaving: self.fleet.is_leaving(number)
                    || node.machine.fenced()
                    || matches!(state, State::Draining | State::Quarantined | State::Paused),
                cut: self.fleet.is_cut(number) || node.machine.fenced(),
                leave: self.fleet.leave(number),
            });
        }
        if lines == self.table.lines {
            return;
        }
        self.table = Table {
            version: self.table.version + 1,
            lines,
        };
        if !self.proxy_gone {
            let table = Word::Table(self.proxy.incarnation, self.table.clone());
            self.send(table);
        }
    }

    fn carry_out(&mut self, number: u32, action: Action) {
        let now = self.now;
        let (calm, window_ms) = (self.calm, self.policy.restart.window_ms);
        let most = [
            self.policy.restart.external_max,
            self.policy.restart.own_max,
        ];
        let Some(node) = self.node(number) else {
            return;
        };
        match action {
            Action::Spawn { generation } => {
                if node.process.is_some() {
                    self.fail(|| format!("instance {number}: two processes at once"));
                    return;
                }
                if let Some(external) = node.reflex.take() {
                    let place = usize::from(!external);
                    let times = &mut node.restarts[place];
                    times.retain(|at| at + window_ms > now);
                    times.push_back(now);
                    let (made, max) = (times.len(), most[place] as usize);
                    if made > max {
                        self.fail(|| format!("instance {number}: budget {max}, made {made}"));
                        return;
                    }
                }
                let event = if node.starts || calm {
                    node.process = Some(Process {
                        generation,
                        healthy: node.well || calm,
                        stopped: false,
                        ignores_term: false,
                        stuck: false,
                        killed: false,
                        works_on: false,
                    });
                    restart::Event::Spawned
                } else {
                    restart::Event::SpawnFailed {
                        reason: String::new(),
                    }
                };
                self.give(number, event);
                if let Some((true, generation)) = self
                    .node(number)
                    .map(|n| (n.process.is_some_and(|p| p.healthy), generation))
                {
                    self.send(Word::Health(number, generation, true));
                }
            }
            Action::Signal(signal) => self.signal(number, signal),
            Action::Planned { by, delay_ms } => {
                node.reflex = match by {
                    RestartBy::Reflex => Some(delay_ms == 0),
                    RestartBy::Operation => None,
                };
            }
            Action::Finish { op, outcome } => self.finish(&op, &outcome),
            Action::Changed { .. } | Action::Exhausted { .. } => {}
        }
    }

    fn signal(&mut self, number: u32, signal: Signal) {
        let Some(process) = self.node(number).and_then(|node| node.process.as_mut()) else {
            return;
        };
        match signal {
            Signal::Kill if !process.stuck => self.die(number, ExitCause::Signal(9)),
            Signal::Term if !process.ignores_term && !process.stopped => {
                self.die(number, ExitCause::Signal(15));
            }
            Signal::Kill => process.killed = true,
            Signal::Term => {}
            Signal::Stop | Signal::Continue => {
                process.stopped = signal == Signal::Stop;
                let word = Word::KernelStopped(number, process.generation, process.stopped);
                self.put(1, word);
            }
        }
    }

    /// The process is gone; the supervisor hears of it in a moment.
    pub(super) fn die(&mut self, number: u32, cause: ExitCause) {
        let Some(node) = self.node(number) else {
            return;
        };
        let Some(process) = node.process.take() else {
            return;
        };
        node.dead = Some((process.generation, cause));
        self.proxy.forget(number, process.generation);
        let after = if self.calm { 0 } else { self.rng.u64(0..60) };
        self.put(after, Word::Exited(number, process.generation));
    }

    pub(super) fn proxy_dies(&mut self) {
        if self.proxy.alive {
            self.proxy.alive = false;
            self.proxy.version = 0;
            self.proxy.held.clear();
            let after = self.rng.u64(0..60);
            self.put(after, Word::ProxyGone);
        }
    }

    /// A new supervisor reads what was kept, and compares it with what is there.
    pub(super) fn supervisor_dies(&mut self) {
        // An operation is journalled before anything comes of it, and begun anew.
        let begun: Vec<(u32, restart::Event)> = std::mem::take(&mut self.queue)
            .into_iter()
            .filter(|(_, event)| matches!(event, restart::Event::Ask { .. }))
            .collect();
        // Its connections are gone, and what was on them.
        self.line.retain(|(_, _, word)| {
            !matches!(
                word,
                Word::Table(..) | Word::Health(..) | Word::Drained(..) | Word::Traffic(..)
            )
        });
        self.fleet.recover();
        for number in 0..self.nodes.len() as u32 {
            let now = self.now;
            let Some(node) = self.node(number) else {
                continue;
            };
            let generation = node.machine.generation();
            let found = match (&node.process, &node.dead) {
                (Some(process), _) if process.generation == generation => Found::Running {
                    stopped: process.stopped,
                },
                (_, Some((of, cause))) if *of == generation => Found::Gone(cause.clone()),
                _ => Found::Nothing,
            };
            if matches!(found, Found::Gone(_)) {
                node.dead = None;
            }
            let actions = node.machine.recover(&found, now);
            let facts = Facts::of(&node.machine);
            self.tell_fleet(fleet::Event::Seen { number, facts });
            for action in actions {
                self.carry_out(number, action);
            }
        }
        self.tell_fleet(fleet::Event::Tick);
        self.queue.extend(begun);
        self.settle();
        let table = Word::Table(self.proxy.incarnation, self.table.clone());
        self.send(table);
    }

    pub(super) fn finish(&mut self, op: &OpId, _outcome: &Outcome) {
        let number: usize = op.as_str().parse().unwrap_or(usize::MAX);
        match self.ended.get_mut(number) {
            Some(ended) if !*ended => *ended = true,
            _ => self.fail(|| format!("operation {op} ended twice")),
        }
    }
}
