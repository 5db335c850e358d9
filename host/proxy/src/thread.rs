//! One thread of the data plane: its runtime, its listeners, its clients. Threads share nothing
//! on the way of a request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_model::id::ServiceName;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::client::{Client, Overdue};
use crate::greeting::Ends;
use crate::hub::Hub;
use crate::lane::Core;
use crate::routes::{Report, Shared, ThreadCells};
use crate::speech::Speech;
use crate::wheel::Wheel;

/// Pause after a failed accept: most likely open files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bounds of the time between two looks at the connections.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_secs(1);
/// When open files have run out, one of so many connections that wait is closed.
const SHED: usize = 8;
/// How long an ending proxy waits for requests in flight.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long one waits that has a successor: for requests, tunnels and connections that are used.
/// The supervisor gives it a little more than this.
const LEAVE_WAIT: Duration = Duration::from_secs(30);
/// And for a connection without a request. One that is used within this time is told by its
/// next answer to go, so that no request of it is lost.
const LEAVE_IDLE: Duration = Duration::from_secs(4);
/// Time between two looks while ending.
const END_LOOK: Duration = Duration::from_millis(10);

/// What a thread is given.
pub(crate) struct Place {
    pub(crate) thread: usize,
    pub(crate) listeners: Vec<(ServiceName, std::net::TcpListener)>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reports: mpsc::Sender<Report>,
    /// The proxy's start, from which beats are counted.
    pub(crate) born: Instant,
}

/// The clients of a thread.
#[derive(Debug)]
struct Guests {
    hub: Rc<Hub>,
    speech: Speech,
    open: RefCell<HashMap<u64, (Rc<Client>, AbortHandle)>>,
    next: Cell<u64>,
}

/// Serves until the proxy ends.
pub(crate) fn run(place: Place) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Sockets are looked at after every so many polls even when there is always work.
        .event_interval(61)
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(place))
}

async fn serve(place: Place) -> io::Result<()> {
    let Place {
        thread,
        listeners,
        shared,
        reports,
        born,
    } = place;
    let wheel = Rc::new(Wheel::default());
    tokio::task::spawn_local(Rc::clone(&wheel).turn());
    let mut wake = shared.wake.subscribe();
    let mut collect = shared.collect.subscribe();
    let mut orders = shared.orders.subscribe();
    let hub = Rc::new(Hub::new(Rc::new(Core {
        thread,
        shared: Arc::clone(&shared),
        reports,
        wheel,
    })));
    hub.refresh();
    let guests = Rc::new(Guests::new(Rc::clone(&hub)));
    let mut accepting = Vec::new();
    for (name, listener) in listeners {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let task = tokio::task::spawn_local(accept(listener, name, Rc::clone(&guests)));
        accepting.push(task);
    }
    tokio::task::spawn_local(look_after(Rc::clone(&guests)));
    while !shared.closing() {
        tokio::select! {
            woken = wake.changed() => {
                wake.mark_unchanged();
                if woken.is_err() {
                    break;
                }
                hub.refresh();
            }
            asked = collect.changed() => {
                if asked.is_err() {
                    break;
                }
                let seq = *collect.borrow_and_update();
                let beat = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
                hub.hand_in(seq, beat);
            }
            // One that came too fast is missed, which its recording tells.
            Ok(order) = orders.recv() => hub.hand_over(&order),
        }
    }
    for task in accepting {
        task.abort();
    }
    guests.leave().await;
    Ok(())
}

async fn accept(listener: TcpListener, name: ServiceName, guests: Rc<Guests>) {
    // What holds for all connections is asked and said once, not for each.
    let local = listener
        .local_addr()
        .ok()
        .filter(|it| !it.ip().is_unspecified());
    let at_once = grace_os::listen::send_at_once(&listener).is_ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let local = local.map_or_else(|| stream.local_addr(), Ok);
                // When it fails the client has gone already.
                if let Ok(local) = local
                    && (at_once || stream.set_nodelay(true).is_ok())
                {
                    let ends = Ends {
                        client: peer,
                        server: local,
                    };
                    guests.welcome(stream, ends, &name);
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                let closed = guests.shed();
                tracing::warn!(service = %name, %error, closed, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors of accept that are about one connection only.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Closes connections that have had their time.
async fn look_after(guests: Rc<Guests>) {
    loop {
        let settings = Arc::clone(&guests.hub.core.shared.routes.load().settings);
        let shortest = [
            settings.head_timeout_ms,
            settings.idle_timeout_ms,
            settings.upload_timeout_ms,
            settings.download_timeout_ms,
            settings.stall_timeout_ms,
        ];
        let shortest = shortest.into_iter().filter(|limit| *limit > 0).min();
        let pause = Duration::from_millis(shortest.unwrap_or(u64::MAX) / 4);
        tokio::time::sleep(pause.clamp(LOOK_MIN, LOOK_MAX)).await;
        let now = Instant::now();
        for (client, task) in guests.open.borrow().values() {
            if let Some(overdue) = client.overdue(&settings, now) {
                if overdue != Overdue::Waiting
                    && let Some(cells) = guests.cells()
                {
                    cells.too_slow.bump();
                }
                task.abort();
            }
        }
        guests
            .open
            .borrow_mut()
            .retain(|_, (_, task)| !task.is_finished());
    }
}

impl Guests {
    fn new(hub: Rc<Hub>) -> Self {
        Self {
            hub,
            speech: Speech::new(),
            open: RefCell::default(),
            next: Cell::new(0),
        }
    }

    fn cells(&self) -> Option<&ThreadCells> {
        let core = &self.hub.core;
        core.shared.threads.get(core.thread)
    }

    /// Closes those that have waited longest without a request, so that many who only hold
    /// connections do not keep others out; how many.
    fn shed(&self) -> usize {
        let now = Instant::now();
        let open = self.open.borrow();
        let mut waiting: Vec<(Duration, &AbortHandle)> = open
            .values()
            .filter(|(_, task)| !task.is_finished())
            .filter_map(|(client, task)| Some((client.waiting(now)?, task)))
            .collect();
        waiting.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        let count = waiting.len().div_ceil(SHED);
        for (_, task) in waiting.iter().take(count) {
            task.abort();
        }
        count
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, ends: Ends, name: &ServiceName) {
        let core = &self.hub.core;
        if let Some(cells) = core.shared.threads.get(core.thread) {
            cells.clients.bump();
        }
        let hub = Rc::clone(&self.hub);
        let client = Rc::new(Client::new(hub, name.clone(), Instant::now()));
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        let guests = Rc::clone(self);
        let speaking = Rc::clone(&client);
        let task = tokio::task::spawn_local(async move {
            // A client that breaks off is no news.
            let _ = guests.speech.speak(speaking, stream, ends).await;
            guests.open.borrow_mut().remove(&id);
        });
        self.open
            .borrow_mut()
            .insert(id, (client, task.abort_handle()));
    }

    /// Waits for requests in flight, then closes what is left. With a successor there is no
    /// haste: connections that are used and tunnels are waited for too.
    async fn leave(&self) {
        let succeeded = self.hub.core.shared.succeeded();
        let (wait, idle) = if succeeded {
            (LEAVE_WAIT, LEAVE_IDLE)
        } else {
            (END_WAIT, Duration::ZERO)
        };
        let begun = Instant::now();
        loop {
            let now = Instant::now();
            self.open.borrow_mut().retain(|_, (client, task)| {
                // Its last request may have come before all this began.
                let rests = client
                    .waiting(now)
                    .is_some_and(|time| time.min(now - begun) >= idle);
                if rests {
                    task.abort();
                }
                !rests && !task.is_finished()
            });
            // Second tries go by the newest table.
            self.hub.refresh();
            let tunnels = succeeded && self.hub.in_flight();
            if (self.open.borrow().is_empty() && !tunnels) || now - begun >= wait {
                return;
            }
            tokio::time::sleep(END_LOOK).await;
        }
    }
}
