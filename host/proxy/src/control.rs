//! The control thread: one task that owns all that is known and decided beside the way of a
//! request. It takes news, changes the shared table, journals, and tells the supervisor. Nobody
//! waits for it, and it waits for nobody.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use grace_capsule::Why;
use grace_model::event::{ProcessState, What};
use grace_model::id::{InstanceId, ServiceName};
use grace_model::ipc::{Answer, Request, Table};
use grace_model::report::Counts;
use tokio::sync::{mpsc, oneshot};

use crate::budget::ServiceCells;
use crate::certs::Certificate;
use crate::eject::Trouble;
use crate::endpoint::Endpoint;
use crate::probe::Round;
use crate::record::{self, Record};
use crate::recorder::{Disk, Recordings};
use crate::routes::{Report, Shared};
use crate::watched::Watched;
use crate::windows::Windows;

/// The length of a traffic window.
const WINDOW: Duration = Duration::from_millis(500);
/// How often ejected instances are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Names of suspects that are journalled.
const SUSPECTS: usize = 16;
/// News that wait for control: probes of a few hundred instances at once fit, and whoever has
/// more waits, as probers and the supervisor's line can.
pub(crate) const NEWS: usize = 1_024;

/// What control is told.
#[derive(Debug)]
pub(crate) enum News {
    /// The supervisor can be reached; words for it go here.
    Linked(mpsc::Sender<Request>),
    /// It cannot any more.
    Unlinked,
    /// It said something.
    Said(Box<Answer>),
    /// A prober's round.
    Round(Box<Round>),
    /// An endpoint's process has ended; its endpoint says so already.
    Died(u64),
    /// Somebody asks for numbers.
    Stats(oneshot::Sender<String>),
    /// Another proxy has taken over; the journal is its.
    Succeeded,
}

/// Which process of which instance.
pub(crate) type Key = (InstanceId, u64);

/// All that is known beside the way of a request.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) record: Record,
    pub(crate) recordings: Recordings,
    pub(crate) disk: Disk,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) cells: HashMap<ServiceName, Arc<ServiceCells>>,
    pub(crate) watched: HashMap<u64, Watched>,
    pub(crate) keys: HashMap<Key, u64>,
    pub(crate) certificates: HashMap<ServiceName, Certificate>,
    pub(crate) table: Option<Table>,
    pub(crate) born: Instant,
    pub(crate) probes: u64,
    pub(crate) ejections: u64,
    /// What the instances of each service did, also those that are gone.
    pub(crate) counts: HashMap<ServiceName, Counts>,
    pub(crate) last_tick: Instant,
    link: Option<mpsc::Sender<Request>>,
    windows: Windows,
    window_start: Instant,
    seq: u64,
    pub(crate) suspects: HashMap<u64, (Instant, Arc<Endpoint>, Vec<String>)>,
    /// Where faults in the path to instances are written down.
    pub(crate) detours: PathBuf,
}

impl Control {
    pub(crate) fn new(
        shared: Arc<Shared>,
        record: Record,
        disk: Disk,
        news: mpsc::Sender<News>,
        (born, detours): (Instant, PathBuf),
    ) -> Self {
        let threads = shared.threads.len();
        let recordings = Recordings::new(born, threads, shared.orders.clone());
        Self {
            shared,
            record,
            recordings,
            disk,
            news,
            cells: HashMap::new(),
            watched: HashMap::new(),
            keys: HashMap::new(),
            certificates: HashMap::new(),
            table: None,
            born,
            probes: 0,
            ejections: 0,
            counts: HashMap::new(),
            last_tick: born,
            link: None,
            windows: Windows::default(),
            window_start: born,
            seq: 0,
            suspects: HashMap::new(),
            detours,
        }
    }

    /// Works until the proxy ends.
    pub(crate) async fn run(
        mut self,
        socket: PathBuf,
        mut news: mpsc::Receiver<News>,
        mut reports: mpsc::Receiver<Report>,
    ) {
        let process = "proxy".to_owned();
        self.record.write(What::Started {
            process,
            pid: std::process::id(),
            adopted: 0,
        });
        tokio::task::spawn_local(crate::link::keep(socket, self.news.clone()));
        let mut tick = tokio::time::interval(WINDOW);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let busy = !self.suspects.is_empty()
                || self.recordings.pending()
                || self.windows.pending()
                || self
                    .watched
                    .values()
                    .any(|it| it.ejections.active() || it.ramp.is_some() || it.limiter.is_awake());
            tokio::select! {
                Some(report) = reports.recv() => self.take_report(report),
                Some(told) = news.recv() => self.take_news(told),
                due = tick.tick() => self.tick(due.into()),
                _ = look.tick(), if busy => self.look(Instant::now()),
            }
        }
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Linked(link) => {
                self.shared.linked.store(true, Ordering::Relaxed);
                self.link = Some(link);
                for watched in self.watched.values_mut() {
                    watched.forget_told();
                }
                self.tell_all();
            }
            News::Unlinked => {
                self.shared.linked.store(false, Ordering::Relaxed);
                self.link = None;
            }
            News::Said(answer) => match *answer {
                Answer::Table(table) => self.apply(table),
                Answer::Death {
                    instance,
                    generation,
                    cause,
                } => {
                    let id = self.keys.get(&(instance, generation));
                    if let Some(watched) = id.and_then(|id| self.watched.get(id)) {
                        let end = Arc::clone(&watched.end);
                        end.tell_cause(cause);
                        if end.mark_dead() {
                            self.shared.bump();
                        }
                        // The next table may know nothing of it.
                        self.record_failure(&end, Why::Died);
                    }
                }
                Answer::Error { message } => {
                    tracing::warn!(message, "the supervisor did not understand the proxy");
                }
                Answer::Reply { .. } | Answer::Status(_) | Answer::Output { .. } => {}
            },
            News::Round(round) => self.take_round(&round),
            News::Died(id) => {
                if let Some(watched) = self.watched.get_mut(&id) {
                    *watched.pace.borrow_mut() = None;
                    let end = Arc::clone(&watched.end);
                    self.record_failure(&end, Why::Died);
                }
            }
            News::Succeeded => self.record.end(),
            News::Stats(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.stats());
            }
        }
    }

    fn take_round(&mut self, round: &Round) {
        let now = Instant::now();
        let (failures, starting) = self.probing(&round.end);
        let Some(watched) = self.watched.get_mut(&round.end.id) else {
            return;
        };
        let mut events = Vec::new();
        let mut changed = false;
        if let Some(probed) = &round.probed {
            self.probes += 1;
            events.extend(watched.judge(probed, failures, starting));
        }
        if let Some(state) = round.state {
            let (event, _) = watched.see(state, now);
            events.extend(event);
            changed = match state {
                ProcessState::Stopped => watched.end.mark_stopped(),
                ProcessState::Running => watched.end.mark_running(),
                ProcessState::Gone => watched.end.mark_dead(),
            };
        }
        for event in events {
            self.record.write(event);
        }
        if changed {
            self.shared.bump();
            if round.state == Some(ProcessState::Stopped) {
                self.eject_stopped(&Arc::clone(&round.end), now);
            }
        }
        self.tell(round.end.id);
    }

    fn take_report(&mut self, report: Report) {
        let now = Instant::now();
        match report {
            Report::Failing {
                end,
                failure,
                streak,
            } => {
                use crate::endpoint::Failure;
                let trouble = match failure {
                    Failure::ServerError => Trouble::Errors,
                    Failure::Unreachable | Failure::Unanswered => Trouble::Silent,
                };
                let why = match failure {
                    Failure::ServerError => Some(Why::Errors),
                    Failure::Unanswered => Some(Why::Silent),
                    Failure::Unreachable => None,
                };
                // A dead one has its own recording.
                if let Some(why) = why
                    && !end.dead()
                    && crate::fate::look(&end) == ProcessState::Running
                {
                    self.record_failure(&end, why);
                }
                let reason = format!("{} {streak} times in a row", failure.words());
                self.eject(&end, trouble, reason, now);
            }
            Report::Stopped { end } => {
                let seen = self.watched.get_mut(&end.id).and_then(|watched| {
                    let (event, changed) = watched.see(ProcessState::Stopped, now);
                    event.filter(|_| changed)
                });
                if let Some(event) = seen {
                    self.record.write(event);
                }
                self.eject_stopped(&end, now);
            }
            Report::Held => self.look_at_limits(now),
            Report::Trial { end, passed } => {
                let Some(watched) = self.watched.get_mut(&end.id) else {
                    return;
                };
                if passed {
                    self.put_back(end.id, now);
                } else if watched.ejections.active() {
                    watched.ejections.fail_trial(now);
                    end.mark_ejected();
                    self.shared.bump();
                }
            }
            Report::Suspect { end, request } => {
                let gathered = self
                    .suspects
                    .entry(end.id)
                    .or_insert_with(|| (now, end, Vec::new()));
                if gathered.2.len() < SUSPECTS {
                    gathered.2.push(request);
                }
            }
            Report::Idle { end, thread, epoch } => {
                let leave = self.watched.get_mut(&end).and_then(|it| it.leave.as_mut());
                if let Some(leave) = leave.filter(|leave| epoch >= leave.epoch)
                    && let Some(idle) = leave.idle.get_mut(thread)
                {
                    *idle = true;
                    self.tell(end);
                }
            }
            Report::Recorded { ticket, part } => {
                let whole = self.recordings.take(ticket, part, record::stamp(), now);
                if let Some(recording) = whole {
                    self.disk.keep(recording);
                }
            }
            Report::Windows { thread, seq, lanes } => {
                if self.windows.add(thread, seq, lanes) {
                    self.end_window(now);
                }
            }
        }
    }

    /// Has what is recorded of an instance that failed handed over, if anything is.
    pub(crate) fn record_failure(&mut self, end: &Arc<Endpoint>, why: Why) {
        let rules = self
            .table_service(&end.subject.service)
            .map(|it| &it.record);
        let Some(rules) = rules.filter(|rules| rules.on) else {
            return;
        };
        let most = usize::try_from(rules.capsule_requests).unwrap_or(usize::MAX);
        self.recordings.begin(end, why, most, Instant::now());
    }

    /// Every half second: windows are asked for, and what the supervisor missed is said again.
    fn tick(&mut self, due: Instant) {
        let now = Instant::now();
        self.last_tick = now;
        let late = now.saturating_duration_since(due);
        if late > WINDOW {
            let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            self.record.write(What::Stalled {
                process: "proxy".to_owned(),
                late_ms,
            });
        }
        if self.windows.pending() {
            // A thread did not answer; what the others said is not held back for it.
            self.end_window(now);
        }
        self.seq += 1;
        self.windows.begin(self.seq, self.shared.threads.len());
        self.shared.collect.send_replace(self.seq);
        for cells in self.cells.values() {
            cells.mark(now);
        }
        for recording in self.recordings.overdue(record::stamp(), now) {
            self.disk.keep(recording);
        }
        self.look_at_certificates();
        self.look_at_limits(now);
        self.look_at_detours();
        self.tell_all();
    }

    fn end_window(&mut self, now: Instant) {
        let length = now.saturating_duration_since(self.window_start);
        self.window_start = now;
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.count();
        let window = self.windows.take(length);
        self.compare(&window, now);
        for event in window {
            self.tell_traffic(&event);
            self.record.write(event);
        }
    }

    /// Adds the window to what is known of each instance and its service.
    fn count(&mut self) {
        for watched in self.watched.values_mut() {
            watched.open = 0;
        }
        for (end, counts, open) in self.windows.counts() {
            let service = &end.subject.service;
            if let Some(all) = self.counts.get_mut(service) {
                all.add(counts);
            } else {
                self.counts.insert(service.clone(), *counts);
            }
            if let Some(watched) = self.watched.get_mut(&end.id) {
                watched.counts.add(counts);
                watched.open = open;
            }
        }
    }

    /// Tells the supervisor of a window; one that does not fit into the line now is missed.
    fn tell_traffic(&self, event: &What) {
        let (
            Some(link),
            What::Traffic {
                subject,
                requests,
                errors,
                unanswered,
                p99_us,
                inflight,
                ..
            },
        ) = (&self.link, event)
        else {
            return;
        };
        let _ = link.try_send(Request::Traffic {
            instance: subject.instance.clone(),
            generation: subject.generation,
            requests: *requests,
            errors: errors.saturating_add(*unanswered),
            p99_us: *p99_us,
            inflight: *inflight,
        });
    }

    fn tell_all(&mut self) {
        let ids: Vec<u64> = self.watched.keys().copied().collect();
        for id in ids {
            self.tell(id);
        }
    }

    /// Tells the supervisor what it has not heard of an endpoint. What does not fit into the
    /// line now is told at the next tick.
    pub(crate) fn tell(&mut self, id: u64) {
        let Some(link) = &self.link else { return };
        let Some(watched) = self.watched.get_mut(&id) else {
            return;
        };
        let subject = &watched.end.subject;
        let (instance, generation) = (subject.instance.clone(), subject.generation);
        if let Some((ok, reason)) = watched.untold() {
            let instance = instance.clone();
            if link
                .try_send(Request::Health {
                    instance,
                    generation,
                    ok,
                    reason,
                })
                .is_ok()
            {
                watched.told(ok);
            }
        }
        if let Some(leave) = &mut watched.leave
            && !leave.told
            && !leave.idle.contains(&false)
        {
            leave.told = link
                .try_send(Request::Drained {
                    instance,
                    generation,
                    leave: leave.number,
                })
                .is_ok();
        }
    }
}
