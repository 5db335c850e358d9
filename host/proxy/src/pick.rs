//! Which instance gets a request: the less busy of two drawn by weight. Only instances that are
//! ready and have nothing against them; when there is none, degraded ones; then ejected ones;
//! never a dead, stopped or fenced one. It sends nothing and waits for nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use grace_model::config;
use grace_model::instance::State;

use crate::budget::ServiceCells;
use crate::certs::InUse;
use crate::class::Classes;
use crate::lane::Lane;
use crate::line::Line;
use crate::recorder::Tape;

/// Instances that a request was given to or refused by, so that it comes to none twice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tried {
    ids: [u64; 8],
    count: usize,
}

/// A service as one thread sees it.
#[derive(Debug)]
pub(crate) struct LocalService {
    pub(crate) cells: Arc<ServiceCells>,
    pub(crate) settings: Arc<config::Proxy>,
    pub(crate) front: Arc<config::Front>,
    pub(crate) tls: Option<Arc<InUse>>,
    /// Which of its requests come first.
    pub(crate) classes: Arc<Classes>,
    /// Who waits for an instance.
    pub(crate) line: Rc<Line>,
    /// Its recorder; none: nothing is recorded.
    pub(crate) tape: Option<Rc<Tape>>,
    /// Whether the table knows it.
    pub(crate) known: bool,
    lanes: Vec<Seat>,
    /// The first tier that is not empty, with the sums of weights up to each.
    first: Vec<(u32, Rc<Lane>)>,
    /// Whether an ejected instance waits for a trial request.
    trials: bool,
}

#[derive(Debug, Clone)]
struct Seat {
    lane: Rc<Lane>,
    state: State,
    weight: u32,
}

impl Tried {
    pub(crate) fn add(&mut self, id: u64) {
        if !self.holds(id)
            && let Some(place) = self.ids.get_mut(self.count)
        {
            *place = id;
            self.count += 1;
        }
    }

    pub(crate) fn holds(&self, id: u64) -> bool {
        self.ids.iter().take(self.count).any(|other| *other == id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// No more can be remembered: a bound on how many refusals one request goes through.
    pub(crate) fn full(&self) -> bool {
        self.count == self.ids.len()
    }
}

impl Seat {
    /// 0 best; none: not at all.
    fn tier(&self) -> Option<u8> {
        if self.weight == 0 || self.lane.end.addr.is_none() || !self.lane.end.usable() {
            return None;
        }
        match self.state {
            State::Ready if !self.lane.end.ejected() => Some(0),
            State::Degraded if !self.lane.end.ejected() => Some(1),
            State::Ready | State::Degraded => Some(2),
            _ => None,
        }
    }
}

/// A share in percent of a weight; what has a weight keeps some.
fn share_of(weight: u32, percent: u8) -> u32 {
    let part = u64::from(weight) * u64::from(percent) / 100;
    u32::try_from(part).unwrap_or(u32::MAX).max(weight.min(1))
}

impl LocalService {
    pub(crate) fn new(
        cells: Arc<ServiceCells>,
        settings: Arc<config::Proxy>,
        front: Option<Arc<config::Front>>,
        lanes: Vec<(Rc<Lane>, State, u32)>,
        line: Rc<Line>,
    ) -> Self {
        let lanes: Vec<Seat> = lanes
            .into_iter()
            .map(|(lane, state, weight)| Seat {
                weight: share_of(weight, lane.end.share()),
                lane,
                state,
            })
            .collect();
        let best = lanes.iter().filter_map(Seat::tier).min();
        let mut sum = 0_u32;
        let first = lanes
            .iter()
            .filter(|seat| best.is_some() && seat.tier() == best)
            .map(|seat| {
                sum = sum.saturating_add(seat.weight);
                (sum, Rc::clone(&seat.lane))
            })
            .collect();
        let trials = lanes.iter().any(|seat| seat.lane.end.trial_open());
        Self {
            cells,
            settings,
            known: front.is_some(),
            front: front.unwrap_or_default(),
            tls: None,
            classes: Arc::default(),
            line,
            tape: None,
            lanes,
            first,
            trials,
        }
    }

    /// With its recorder.
    pub(crate) fn with_tape(mut self, tape: Option<Rc<Tape>>) -> Self {
        self.tape = tape;
        self
    }

    /// The same with a certificate.
    pub(crate) fn with_tls(self, tls: Option<Arc<InUse>>) -> Self {
        Self { tls, ..self }
    }

    /// The same with its rules of priority.
    pub(crate) fn with_classes(self, classes: Arc<Classes>) -> Self {
        Self { classes, ..self }
    }

    /// The instance for a first try, with room for a request of this rank; none: any, whatever it
    /// has.
    pub(crate) fn pick(&self, rank: Option<u8>) -> Option<Rc<Lane>> {
        let one = self.draw()?;
        let two = if self.first.len() > 1 {
            self.draw()?
        } else {
            one
        };
        let clear = |lane: &Rc<Lane>| lane.end.clear();
        let chosen = match (clear(one.1), clear(two.1)) {
            (true, true) => {
                // In flight per weight; a tie goes to the first drawn, which keeps the shares.
                let busy = |it: &(u32, &Rc<Lane>), other: u32| {
                    u64::from(it.1.inflight()) * u64::from(other)
                };
                if busy(&two, one.0) < busy(&one, two.0) {
                    two.1
                } else {
                    one.1
                }
            }
            (true, false) => one.1,
            (false, true) => two.1,
            (false, false) => return self.other(&Tried::default(), rank),
        };
        if rank.is_some_and(|rank| !chosen.has_room(rank)) {
            return self.other(&Tried::default(), rank);
        }
        Some(Rc::clone(chosen))
    }

    /// Any instance but those tried, by weight in the best tier that has one, with room for a
    /// request of this rank. One that stands in no better tier gets none because those that do
    /// have no room.
    pub(crate) fn other(&self, tried: &Tried, rank: Option<u8>) -> Option<Rc<Lane>> {
        let open = |seat: &&Seat| !tried.holds(seat.lane.end.id);
        let best = self
            .lanes
            .iter()
            .filter(open)
            .filter_map(Seat::tier)
            .min()?;
        let tier = || {
            self.lanes
                .iter()
                .filter(open)
                .filter(|seat| seat.tier() == Some(best))
        };
        // Looked at once: what is in flight on other threads changes meanwhile.
        let group: Vec<&Seat> = tier()
            .filter(|seat| rank.is_none_or(|rank| seat.lane.has_room(rank)))
            .collect();
        if group.is_empty() {
            tier().for_each(|seat| seat.lane.hold());
            return None;
        }
        let total: u64 = group.iter().map(|seat| u64::from(seat.weight)).sum();
        let mut at = fastrand::u64(0..total.max(1));
        for seat in group {
            if at < u64::from(seat.weight) {
                return Some(Rc::clone(&seat.lane));
            }
            at -= u64::from(seat.weight);
        }
        None
    }

    /// Whether an instance takes requests, with room or without, that was not tried yet.
    pub(crate) fn is_served(&self, tried: &Tried) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|seat| seat.tier().is_some() && !tried.holds(seat.lane.end.id))
    }

    /// An ejected instance that waits for its trial, when there is another that could help out.
    pub(crate) fn trial(&self, now: Instant) -> Option<Rc<Lane>> {
        if !self.trials {
            return None;
        }
        let seat = self.lanes.iter().find(|seat| {
            seat.lane.end.trial_open()
                && seat.lane.end.usable()
                && matches!(seat.state, State::Ready | State::Degraded)
                && seat.weight > 0
        })?;
        let mut tried = Tried::default();
        tried.add(seat.lane.end.id);
        let helped = self.other(&tried, None).is_some()
            && self.cells.affords(self.settings.retry_percent, now);
        (helped && seat.lane.end.take_trial()).then(|| Rc::clone(&seat.lane))
    }

    fn draw(&self) -> Option<(u32, &Rc<Lane>)> {
        let total = self.first.last()?.0;
        let at = fastrand::u32(0..total.max(1));
        let index = self.first.partition_point(|(sum, _)| *sum <= at);
        let (sum, lane) = self.first.get(index)?;
        let below = index
            .checked_sub(1)
            .and_then(|i| self.first.get(i))
            .map_or(0, |it| it.0);
        Some((sum - below, lane))
    }
}
