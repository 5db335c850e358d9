//! The routing table as all threads share it, and what else they share. Replaced as a whole by
//! pointer; nobody waits for anybody here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use grace_model::config;
use grace_model::id::ServiceName;
use grace_model::instance::State;
use grace_model::record::Record;
use tokio::sync::{broadcast, mpsc, watch};

use crate::budget::{Cell, ServiceCells};
use crate::certs::InUse;
use crate::class::Classes;
use crate::endpoint::{Endpoint, Failure};
use crate::lane::LaneWindow;
use crate::recorder::{Order, Part, Recordings};

/// Where requests may go.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) settings: Arc<config::Proxy>,
    pub(crate) services: Vec<Arc<RouteService>>,
}

/// One service.
#[derive(Debug)]
pub(crate) struct RouteService {
    pub(crate) cells: Arc<ServiceCells>,
    pub(crate) front: Arc<config::Front>,
    /// Which of its requests come first.
    pub(crate) classes: Arc<Classes>,
    /// Its certificate, when clients speak TLS.
    pub(crate) tls: Option<Arc<InUse>>,
    /// What of its traffic is recorded.
    pub(crate) record: Arc<Record>,
    pub(crate) targets: Vec<Target>,
}

/// One instance of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) end: Arc<Endpoint>,
    pub(crate) state: State,
    pub(crate) fenced: bool,
    pub(crate) weight: u32,
    /// The table's number of its last leave.
    pub(crate) leave: u64,
}

impl Routes {
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&Arc<RouteService>> {
        self.services
            .iter()
            .find(|service| service.cells.name == *name)
    }
}

impl Target {
    /// No new request goes to it, and whoever asked for that waits until none is in flight.
    pub(crate) fn leaving(&self) -> bool {
        self.fenced
            || matches!(
                self.state,
                State::Draining | State::Quarantined | State::Paused
            )
    }
}

/// What threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) routes: ArcSwap<Routes>,
    /// Rises when a thread must look at `routes` or at an endpoint's flags again. It is read
    /// before every pick.
    epoch: AtomicU64,
    /// The same number for threads that sleep.
    pub(crate) wake: watch::Sender<u64>,
    /// Rises when threads are to hand in their windows.
    pub(crate) collect: watch::Sender<u64>,
    /// Whether the supervisor can be reached: only then is its word on a death waited for.
    pub(crate) linked: AtomicBool,
    /// The proxy is ending: answers close their connections.
    pub(crate) closing: AtomicBool,
    /// Orders to hand over what was recorded.
    pub(crate) orders: broadcast::Sender<Order>,
    /// Another proxy accepts already, so there is time for connections to end by themselves.
    pub(crate) succeeded: AtomicBool,
    pub(crate) threads: Box<[ThreadCells]>,
}

impl Shared {
    pub(crate) fn new(settings: config::Proxy, threads: usize) -> Self {
        Self {
            routes: ArcSwap::from_pointee(Routes {
                settings: Arc::new(settings),
                services: Vec::new(),
            }),
            epoch: AtomicU64::new(1),
            wake: watch::Sender::new(1),
            collect: watch::Sender::new(0),
            linked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            orders: Recordings::orders(),
            succeeded: AtomicBool::new(false),
            threads: (0..threads).map(|_| ThreadCells::default()).collect(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Makes every thread look again; the number of this look.
    pub(crate) fn bump(&self) -> u64 {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake.send_replace(epoch);
        epoch
    }

    pub(crate) fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed)
    }

    pub(crate) fn linked(&self) -> bool {
        self.linked.load(Ordering::Relaxed)
    }
}

/// Totals of one thread, written by it alone.
#[derive(Debug, Default)]
pub(crate) struct ThreadCells {
    /// Requests taken from clients.
    pub(crate) requests: Cell,
    /// Second tries of any kind.
    pub(crate) second_tries: Cell,
    /// Of them, hedges.
    pub(crate) hedges: Cell,
    /// Second tries that the budget did not allow.
    pub(crate) over_budget: Cell,
    /// Requests answered 502 because their instance died of its own under them.
    pub(crate) suspects: Cell,
    /// Requests that ended in 502 or 504 for any other cause.
    pub(crate) failed: Cell,
    /// Requests answered 503: no instance.
    pub(crate) no_instance: Cell,
    /// Requests sent away with 503: every instance had as many as it can use.
    pub(crate) shed: Cell,
    /// Requests refused as malformed.
    pub(crate) refused: Cell,
    /// Connections closed in the middle of a body: the client or the instance stood still.
    pub(crate) too_slow: Cell,
    /// Connections of clients, ever.
    pub(crate) clients: Cell,
    /// Connections to instances, ever.
    pub(crate) dials: Cell,
    /// Upgraded connections, ever.
    pub(crate) tunnels: Cell,
    /// Milliseconds since the proxy's start when the thread last lived.
    pub(crate) beat: AtomicU64,
}

/// What threads tell the control thread. Bounded, see [`reports`].
#[derive(Debug)]
pub(crate) enum Report {
    /// An endpoint has failed too often in a row.
    Failing {
        end: Arc<Endpoint>,
        failure: Failure,
        streak: u32,
    },
    /// An endpoint's process was found stopped under a request.
    Stopped { end: Arc<Endpoint> },
    /// Somebody waits because of a limit, for the first time since the last look.
    Held,
    /// What came of a trial.
    Trial { end: Arc<Endpoint>, passed: bool },
    /// A request was in flight when its endpoint died of its own.
    Suspect { end: Arc<Endpoint>, request: String },
    /// No request of this thread is in flight on a leaving endpoint, and none will be given
    /// to it by what it saw at `epoch`.
    Idle { end: u64, thread: usize, epoch: u64 },
    /// What a thread recorded of an endpoint.
    Recorded { ticket: u64, part: Part },
    /// What the thread's lanes did since the last time.
    Windows {
        thread: usize,
        seq: u64,
        lanes: Vec<LaneWindow>,
    },
}

/// The way from the threads to control. 4,096: a burst of failures of some thousand requests
/// fits; what does not fit is told again by the next failure or the next window.
pub(crate) fn reports() -> (mpsc::Sender<Report>, mpsc::Receiver<Report>) {
    mpsc::channel(4_096)
}
