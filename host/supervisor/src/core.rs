//! The supervisor's state and its one loop. Everything that happens comes in here as a
//! message, becomes an event of a machine, is kept on disk and then carried out. One thread,
//! one owner: no locks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grace_journal::{Operations, Writer};
use grace_model::command::Outcome;
use grace_model::config::Config;
use grace_model::event::{self, What};
use grace_model::id::{InstanceId, OpId, ServiceName};
use grace_model::instance::{ExitCause, ProcessId};
use grace_model::ipc::Table;
use grace_model::layout::Layout;
use grace_os::clock;
use grace_os::limit::OpenFiles;
use grace_os::notify::Notification;
use grace_plan::restart::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clients::{Clients, Heard};
use crate::confine::Confines;
use crate::error::Error;
use crate::fleets::{Squad, Told};
use crate::keeper::wire::Exit;
use crate::link::Link;
use crate::parts::Part;
use crate::slot::Slot;
use crate::snapshot::WideRecord;

/// What tasks tell the core. Bounded: a flood from one client waits in its own task.
pub(crate) const MESSAGES: usize = 1024;

/// The beat: heartbeats, adopted processes' states and the watch over this loop itself.
const BEAT: Duration = Duration::from_millis(200);

/// Beats between two looks at the size of Grace's own log.
const BEATS_A_LOG: u64 = 50;

/// Beats between two looks at the out-of-memory kills in groups; the one at a death counts.
const BEATS_A_LOOK: u64 = 4;

/// A beat later than this means that nothing was judged for a while.
const STALL_MS: u64 = 1_000;

/// Finished operations kept in the snapshot until the journal has them for sure.
pub(crate) const FINISHED: usize = 64;

/// What tasks tell.
#[derive(Debug)]
pub(crate) enum Message {
    /// An instance's process is dead.
    Death {
        /// Which.
        instance: InstanceId,
        /// Which process of it.
        generation: u64,
    },
    /// A process of Grace is dead.
    PartDeath {
        /// Which.
        name: &'static str,
        /// Which process of it.
        pid: u32,
    },
    /// The keeper saw an exit.
    AdoptedExit(Exit),
    /// An instance said something on its notify socket.
    Notified {
        /// Which.
        instance: InstanceId,
        /// What.
        what: Notification,
    },
    /// A client connected, said something or went.
    Client {
        /// Which connection.
        id: u64,
        /// What.
        heard: Heard,
    },
}

/// The supervisor.
pub(crate) struct Core {
    pub layout: Layout,
    pub exe: PathBuf,
    pub host: String,
    pub config: Config,
    pub journal: Writer,
    pub operations: Operations,
    pub messages: mpsc::Sender<Message>,
    pub link: Link,
    pub slots: BTreeMap<InstanceId, Slot>,
    /// Events that wait to be stepped.
    pub events: VecDeque<(InstanceId, Event)>,
    /// The services' fleets.
    pub squads: BTreeMap<ServiceName, Squad>,
    /// What waits to be told to them.
    pub fleet_events: VecDeque<(ServiceName, grace_plan::fleet::Event)>,
    pub wide: Vec<WideRecord>,
    pub finished: VecDeque<(OpId, Outcome)>,
    pub listeners: BTreeMap<String, std::os::fd::OwnedFd>,
    pub parts: Vec<Part>,
    pub keeper: Part,
    pub clients: Clients,
    pub waiting: HashMap<OpId, Vec<u64>>,
    pub table: Table,
    /// Ends of own children that nobody has asked for yet.
    pub ends: HashMap<u32, ExitCause>,
    pub confines: Confines,
    pub oom_kills: u64,
    pub oom_at: u64,
    pub beat_at: u64,
    pub work: u64,
    pub beats: u64,
    pub supervisor_restarts: u64,
    pub shutdown: Shutdown,
    /// This process makes way for the next supervisor.
    pub leaving: bool,
    pub self_id: ProcessId,
    /// The limit of open files before this process raised its own: for its children.
    pub files: OpenFiles,
    /// The time of day, for people and journals only.
    pub wall: fn() -> u64,
}

/// How far a shutdown is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// None was asked for.
    #[default]
    No,
    /// Instances are being ended; these connections wait.
    Instances(Vec<u64>),
}

impl Core {
    /// Runs until a shutdown has ended.
    pub(crate) async fn run(&mut self, mut inbox: mpsc::Receiver<Message>) -> Result<(), Error> {
        let mut children = child_signal()?;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.beat_at = clock::boot_ms();
        loop {
            self.settle();
            if self.is_shut_down() || self.leaving {
                return Ok(());
            }
            let due = self.next_due();
            tokio::select! {
                biased;
                message = inbox.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return Ok(()),
                },
                _ = children.recv() => self.reap(),
                _ = beat.tick() => self.beat(),
                () = tokio::time::sleep(due) => self.due(),
            }
        }
    }

    fn hear(&mut self, message: Message) {
        self.work += 1;
        match message {
            Message::Death {
                instance,
                generation,
            } => self.instance_died(&instance, generation),
            Message::PartDeath { name, pid } => self.part_died(name, pid),
            Message::AdoptedExit(exit) => self.link.note(exit),
            Message::Notified { instance, what } => self.notified(&instance, &what),
            Message::Client { id, heard } => self.client(id, heard),
        }
    }

    /// Steps machines until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut actions = Vec::new();
            let now = clock::boot_ms();
            let mut told = Told::default();
            let mut changed = self.settle_fleets(now, &mut told);
            while let Some((id, event)) = self.events.pop_front() {
                let Some(slot) = self.slots.get_mut(&id) else {
                    continue;
                };
                let before = slot.machine.clone();
                let subject = slot.subject();
                let out = slot.machine.step(event, now);
                changed |= slot.machine != before;
                actions.extend(
                    out.into_iter()
                        .map(|action| (id.clone(), subject.clone(), action)),
                );
                changed |= self.show(&id, now, &mut told);
            }
            changed |= self.settle_wide();
            if changed || !actions.is_empty() || !told.is_empty() {
                self.carry_out(actions);
                self.carry_out_told(told);
            }
            self.publish();
            self.look_after_drains(now);
            if self.events.is_empty() && self.fleet_events.is_empty() {
                break;
            }
        }
    }

    fn next_due(&self) -> Duration {
        let now = clock::boot_ms();
        let slots = self.slots.values().filter_map(Slot::deadline);
        let parts = self
            .parts
            .iter()
            .chain([&self.keeper])
            .filter_map(Part::deadline);
        let at = slots
            .chain(parts)
            .chain(self.fleets_due())
            .min()
            .unwrap_or(u64::MAX);
        Duration::from_millis(at.saturating_sub(now).min(BEAT.as_millis() as u64 * 10))
    }

    /// A deadline of somebody has come.
    fn due(&mut self) {
        let now = clock::boot_ms();
        let mut dead = Vec::new();
        for slot in self.slots.values_mut() {
            if slot.machine.deadline().is_some_and(|at| at <= now) {
                self.events.push_back((slot.id.clone(), Event::Tick));
            }
            if slot.drained_at.is_some_and(|at| at <= now) {
                slot.drained_at = None;
                let generation = slot.machine.generation();
                self.events
                    .push_back((slot.id.clone(), Event::Drained { generation }));
            }
            if let Some(running) = &slot.running
                && running.cause_by.is_some_and(|at| at <= now)
            {
                dead.push((slot.id.clone(), running.generation));
            }
        }
        for (id, generation) in dead {
            self.instance_died(&id, generation);
        }
        self.wake_fleets(now);
        self.start_parts(now);
    }

    fn beat(&mut self) {
        let now = clock::boot_ms();
        let late = now
            .saturating_sub(self.beat_at)
            .saturating_sub(BEAT.as_millis() as u64);
        self.beat_at = now;
        self.beats += 1;
        if late > STALL_MS {
            self.stalled(late, now);
        }
        self.look_for_oom(now);
        self.reap();
        self.look_at_instances(now);
        self.look_at_parts(now);
        if self.beats.is_multiple_of(BEATS_A_LOOK) {
            self.look_at_groups(now);
        }
        if self.beats.is_multiple_of(BEATS_A_LOG) {
            crate::log::bound_own(&self.layout.logs().join("grace.log"));
        }
    }

    /// This process did not run: clocks of others go on from here.
    fn stalled(&mut self, late_ms: u64, now: u64) {
        tracing::warn!(late_ms, "the supervisor did not run for a while");
        self.record(What::Stalled {
            process: "supervisor".to_owned(),
            late_ms,
        });
        for slot in self.slots.values_mut() {
            if let Some(running) = &mut slot.running {
                running.beat_at = running.beat_at.map(|_| now);
            }
            self.events
                .push_back((slot.id.clone(), Event::Stalled { late_ms }));
        }
    }

    /// Writes an event to the journal. What cannot be written is counted there as a gap.
    pub(crate) fn record(&mut self, what: What) {
        let event = event::Event {
            at: (self.wall)(),
            what,
        };
        self.operations.note(&event);
        if let Err(error) = self.journal.append(&event) {
            tracing::error!(%error, "an event is lost");
        }
    }
}

/// The time of day in milliseconds since 1970. It may jump: nothing is timed by it.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn child_signal() -> Result<Signal, Error> {
    signal(SignalKind::child()).map_err(|source| Error::file("SIGCHLD", "listening for it", source))
}
