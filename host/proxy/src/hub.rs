//! One thread's view of the table: its lanes and services. Made anew when the shared table or an
//! endpoint's flags have changed; a request only compares a number.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use grace_model::config::Protocol;
use grace_model::id::ServiceName;
use tokio::sync::Notify;

use crate::budget::ServiceCells;
use crate::lane::{Core, Lane, LaneWindow};
use crate::line::Line;
use crate::pick::LocalService;
use crate::recorder::{Order, Tape};
use crate::routes::{Report, RouteService};

/// One thread's view.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) core: Rc<Core>,
    epoch: Cell<u64>,
    lanes: RefCell<HashMap<u64, Rc<Lane>>>,
    views: RefCell<HashMap<ServiceName, Rc<LocalService>>>,
    /// Who waits, by service; over all views.
    lines: RefCell<HashMap<ServiceName, Rc<Line>>>,
    /// The recorders, kept from table to table.
    tapes: RefCell<HashMap<ServiceName, Rc<Tape>>>,
    /// Told at every new view.
    pub(crate) changed: Notify,
}

impl Hub {
    pub(crate) fn new(core: Rc<Core>) -> Self {
        Self {
            core,
            epoch: Cell::new(0),
            lanes: RefCell::default(),
            views: RefCell::default(),
            lines: RefCell::default(),
            tapes: RefCell::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Looks again if there is reason to.
    pub(crate) fn refresh(&self) {
        let epoch = self.core.shared.epoch();
        if epoch != self.epoch.get() {
            self.rebuild(epoch);
        }
    }

    /// A service as of the last look. One that the table does not know has no instances.
    pub(crate) fn view(&self, name: &ServiceName) -> Rc<LocalService> {
        if let Some(view) = self.views.borrow().get(name) {
            return Rc::clone(view);
        }
        let threads = self.core.shared.threads.len();
        let cells = Arc::new(ServiceCells::new(name.clone(), threads));
        let settings = Arc::clone(&self.core.shared.routes.load().settings);
        let line = self.line(name);
        Rc::new(LocalService::new(cells, settings, None, Vec::new(), line))
    }

    fn line(&self, name: &ServiceName) -> Rc<Line> {
        let mut lines = self.lines.borrow_mut();
        Rc::clone(lines.entry(name.clone()).or_default())
    }

    fn rebuild(&self, epoch: u64) {
        let routes = self.core.shared.routes.load_full();
        let patience = Duration::from_millis(routes.settings.hedge_ms);
        let mut before = std::mem::take(&mut *self.lanes.borrow_mut());
        let mut lanes = HashMap::new();
        let mut views = HashMap::new();
        for service in &routes.services {
            let mut seats = Vec::with_capacity(service.targets.len());
            let line = self.line(&service.cells.name);
            for target in &service.targets {
                let lane = before.remove(&target.end.id).unwrap_or_else(|| {
                    let (end, core) = (Arc::clone(&target.end), Rc::clone(&self.core));
                    Rc::new(Lane::new(end, core, Rc::clone(&line)))
                });
                lane.set(
                    patience,
                    routes.settings.eject_failures,
                    target.leaving(),
                    epoch,
                );
                lane.speak(service.front.protocol == Protocol::H2c);
                lanes.insert(target.end.id, Rc::clone(&lane));
                seats.push((lane, target.state, target.weight));
            }
            let view = LocalService::new(
                Arc::clone(&service.cells),
                Arc::clone(&routes.settings),
                Some(Arc::clone(&service.front)),
                seats,
                line,
            )
            .with_tls(service.tls.clone())
            .with_classes(Arc::clone(&service.classes))
            .with_tape(self.tape(service));
            views.insert(service.cells.name.clone(), Rc::new(view));
        }
        // A generation that is gone: what is in flight on it may end, nothing is kept open.
        for lane in before.into_values() {
            lane.set(patience, routes.settings.eject_failures, true, epoch);
        }
        *self.lanes.borrow_mut() = lanes;
        *self.views.borrow_mut() = views;
        self.epoch.set(epoch);
        self.changed.notify_waiters();
    }

    /// The recorder of a service: the one it has, unless its rules are others now.
    fn tape(&self, service: &RouteService) -> Option<Rc<Tape>> {
        let mut tapes = self.tapes.borrow_mut();
        let name = &service.cells.name;
        if !service.record.on {
            tapes.remove(name);
            return None;
        }
        if let Some(tape) = tapes.get(name)
            && **tape.rules() == *service.record
        {
            return Some(Rc::clone(tape));
        }
        let threads = u64::try_from(self.core.shared.threads.len()).unwrap_or(1);
        let limit = service.record.memory_bytes / threads.max(1);
        let tape = Rc::new(Tape::new(Arc::clone(&service.record), limit));
        tapes.insert(name.clone(), Rc::clone(&tape));
        Some(tape)
    }

    /// Hands over what was recorded of an endpoint.
    pub(crate) fn hand_over(&self, order: &Order) {
        let tapes = self.tapes.borrow();
        let Some(tape) = tapes.get(&order.end.subject.service) else {
            return;
        };
        let part = tape.hand_over(order.end.id, order.most, Instant::now());
        let ticket = order.ticket;
        // Without room it counts as a thread that did not answer.
        let _ = self
            .core
            .reports
            .try_send(Report::Recorded { ticket, part });
    }

    /// Whether anything is in flight, also on connections that are no client's any more: tunnels.
    pub(crate) fn in_flight(&self) -> bool {
        self.lanes.borrow().values().any(|lane| lane.inflight() > 0)
    }

    /// Hands in what happened since the last time, and tells again what may have been lost.
    pub(crate) fn hand_in(&self, seq: u64, beat: u64) {
        let core = &self.core;
        if let Some(cells) = core.shared.threads.get(core.thread) {
            cells.beat.store(beat, Ordering::Relaxed);
        }
        let now = Instant::now();
        let lanes = self.lanes.borrow();
        // Without room the windows are kept and handed in with the next ones.
        if let Ok(permit) = core.reports.try_reserve() {
            let lanes: Vec<LaneWindow> = lanes.values().filter_map(|lane| lane.hand_in()).collect();
            permit.send(Report::Windows {
                thread: core.thread,
                seq,
                lanes,
            });
        }
        for lane in lanes.values() {
            lane.tell_idle();
            lane.sweep(now);
        }
    }
}
