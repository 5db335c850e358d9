//! The proxy of the simulated world: it keeps the newest table it has seen, holds requests,
//! and says what it has closed. It believes no older table.

use grace_model::instance::State;

/// A table as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub version: u64,
    pub lines: Vec<Line>,
}

/// One instance in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub number: u32,
    pub generation: u64,
    pub state: State,
    pub weight: u32,
    pub leaving: bool,
    pub cut: bool,
    pub leave: u64,
}

/// What the proxy holds of one process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub line: Line,
    pub inflight: u32,
}

#[derive(Debug, Default)]
pub(super) struct Proxy {
    pub alive: bool,
    /// Which process of it; words to an earlier one are lost.
    pub incarnation: u64,
    pub version: u64,
    pub held: Vec<Held>,
}

impl Held {
    /// Whether a new request may go there.
    pub(super) fn routable(&self) -> bool {
        self.line.weight > 0
            && !self.line.leaving
            && !self.line.cut
            && matches!(self.line.state, State::Ready | State::Degraded)
    }

    /// Whether an answer may still come from there.
    pub(super) fn may_answer(&self) -> bool {
        self.inflight > 0 || self.routable()
    }
}

impl Proxy {
    /// Takes a table, if it is newer than what it has; gives the processes whose requests it
    /// has cut off.
    pub(super) fn take(&mut self, table: &Table) -> Vec<(u32, u64)> {
        let mut cut = Vec::new();
        if table.version <= self.version {
            return cut;
        }
        self.version = table.version;
        let before = std::mem::take(&mut self.held);
        for line in &table.lines {
            let known = before.iter().find(|held| {
                held.line.number == line.number && held.line.generation == line.generation
            });
            let inflight = known.map_or(0, |held| held.inflight);
            if line.cut && inflight > 0 {
                cut.push((line.number, line.generation));
            }
            self.held.push(Held {
                line: *line,
                inflight: if line.cut { 0 } else { inflight },
            });
        }
        cut
    }

    /// A process is dead: its connections break.
    pub(super) fn forget(&mut self, number: u32, generation: u64) {
        for held in &mut self.held {
            if held.line.number == number && held.line.generation == generation {
                held.inflight = 0;
            }
        }
    }
}
