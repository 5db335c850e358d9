//! The instances of one service together, as a pure machine: `step(event, now) -> actions`. It
//! decides who is active, hot or warm, who gets which share of the traffic, and which version
//! each one runs. Life and death of one process are its restart machine's ([`crate::restart`]);
//! this one hears what that says and asks for what it wants. It must not know processes,
//! sockets or clocks.
//!
//! With roles, its promise is: at no time may more instances answer than are active by the
//! plan. A gate stands before every instance. Open: the proxy may give it requests. Shut: the
//! proxy has said that it has closed, or the process is dead. A gate opens only while fewer
//! than the planned number are not shut.

mod asks;
mod gate;
mod machine;
mod ramp;
mod roles;
mod rollout;
mod rollout_all;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::BTreeMap;

use grace_model::command::{Outcome, StopMode};
use grace_model::id::OpId;
use grace_model::instance::{Role, State};
use serde::{Deserialize, Serialize};

use crate::restart::Machine;

pub use grace_model::command::Strategy;
pub use weights::split;

/// Shares of a service's traffic sum to this.
pub const WHOLE: u32 = 10_000;

/// Steps of a ramp, in percent of the instance's share.
pub const RAMP: [u32; 4] = [10, 25, 50, 100];

/// How many of each kind a service wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// That take traffic.
    pub active: u32,
    /// Running standbys.
    pub hot: u32,
    /// Prepared, not running.
    pub warm: u32,
}

/// What the service's declaration says about its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whether there are roles. Without, all are active and no gate is ever waited for.
    pub roles: bool,
    /// Time of one step of a ramp. 0: no ramp.
    pub ramp_step_ms: u64,
    /// Time that an instance on its way out gets for its requests before it is cut off.
    pub leave_ms: u64,
    /// Time that a proxy gets to close connections before the process is killed.
    pub cut_ms: u64,
    /// Time that a new version has to get ready.
    pub start_timeout_ms: u64,
    /// Time that a new version is watched before it counts as good.
    pub watch_ms: u64,
    /// Time that the old version is kept running beside a switched one.
    pub keep_ms: u64,
}

/// What an instance's restart machine says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its newest process.
    pub generation: u64,
    /// Where it is in its life.
    pub state: State,
    /// Whether a process runs.
    pub up: bool,
    /// Whether that is being ended.
    pub ending: bool,
    /// Whether it was killed and its death was waited for in vain.
    pub stuck: bool,
    /// Whether its connections are closed whatever is in flight on them.
    pub fenced: bool,
    /// Whether an operation keeps it from traffic.
    pub held: bool,
    /// Whether a budget has still to pay for its next start.
    pub owes: bool,
    /// Deaths that nobody asked for, ever.
    pub deaths: u32,
}

/// What was measured of an instance's traffic in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Requests given to it.
    pub requests: u64,
    /// Answers of 500 and above, and requests never answered.
    pub errors: u64,
    /// 99th percentile of the time to the first byte, in microseconds.
    pub p99_us: u64,
    /// In flight at the end of the window.
    pub inflight: u64,
}

/// What an operation asks of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Make a standby active; the one it replaces leaves first.
    Promote(u32),
    /// Give these shares of [`WHOLE`] to these instances; an empty list: equal shares.
    Weights(Vec<(u32, u32)>),
    /// Want another number of each.
    Resize(Plan),
    /// Bring in a version.
    Rollout {
        /// A number that its declaration is kept under, above all before.
        version: u64,
        /// How.
        strategy: Strategy,
    },
    /// Go back to the version before.
    Rollback,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What an instance's restart machine says now: started, ready, unhealthy, died, fenced,
    /// fence timed out, held, failed.
    Seen {
        /// Which instance.
        number: u32,
        /// What.
        facts: Facts,
    },
    /// The proxy has closed what it had with this process.
    Drained {
        /// Which instance.
        number: u32,
        /// Which process of it.
        generation: u64,
        /// Which of its leaves, as the proxy was told.
        leave: u64,
    },
    /// Its good health was told again: a probe, a heartbeat.
    Fresh {
        /// Which instance.
        number: u32,
        /// Which process of it.
        generation: u64,
    },
    /// A window of traffic.
    Traffic {
        /// Which instance.
        number: u32,
        /// Which process of it.
        generation: u64,
        /// What was measured.
        sample: Sample,
    },
    /// An operation.
    Ask {
        /// Its id.
        op: OpId,
        /// What is asked.
        ask: Ask,
    },
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Its process is wanted: [`crate::restart::Event::Start`].
    Start(u32),
    /// Its process is not wanted: [`crate::restart::Event::Retire`].
    Stop(u32),
    /// It must never answer again: [`crate::restart::Event::Fence`].
    Fence(u32),
    /// It is to run this version: [`crate::restart::Event::Renew`].
    Renew(u32, u64),
    /// Its next process is to run this version; there is none now.
    Assign(u32, u64),
    /// It is no part of the service any more: retire it and forget it when it is gone.
    Drop(u32),
    /// Tell people.
    Report(Report),
    /// An operation has ended.
    Finish(OpId, Outcome),
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// A standby became active.
    Promoted {
        /// Which.
        number: u32,
        /// Instead of this one; none: nobody had the place.
        instead_of: Option<u32>,
    },
    /// An active one lost its place, and its gate is shut.
    Demoted {
        /// Which.
        number: u32,
        /// What it is now.
        to: Role,
    },
    /// A warm one is started to stand by.
    Refilled {
        /// Which.
        number: u32,
    },
    /// An unhealthy active one is fenced.
    Fencing {
        /// Which.
        number: u32,
    },
    /// A process did not die of SIGKILL: it is fenced at the proxy only.
    FencedAtProxyOnly {
        /// Which.
        number: u32,
    },
    /// An active one is lost or sick and nobody can take its place.
    NoStandby {
        /// Which is missing.
        number: u32,
    },
    /// Everyone able to run has used up its budget.
    GaveUp,
    /// An instance did badly while its share rose; it gets none for a while.
    RampAborted {
        /// Which.
        number: u32,
        /// Why.
        reason: String,
    },
    /// A rollout began, went on or ended; for a person.
    Rollout {
        /// What.
        text: String,
    },
}

/// What stands between the proxy and an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Gate {
    /// The proxy has nothing with it, or it is dead.
    Shut,
    /// The proxy may give it requests.
    Open,
    /// It gets no new ones; those in flight may end until then.
    Leaving { until: u64 },
    /// The proxy was told to close whatever is in flight. `closed`: it has. The process may go
    /// on with what it was asked, so this ends with its death, unless an operator holds it.
    Cut { until: u64, closed: bool },
}

/// One instance as the fleet holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    role: Role,
    facts: Facts,
    gate: Gate,
    /// Leaves told to the proxy so far, over all its processes.
    leave: u64,
    /// It is to be killed, whatever it says.
    fencing: bool,
    /// A start or stop was asked for since it was last seen.
    asked: bool,
    /// In good health since then.
    ready_since: Option<u64>,
    /// When its good health was last told.
    fresh_at: u64,
    /// The last window.
    load: Sample,
    /// Whether it has a share.
    routable: bool,
    /// Whether it ever had one.
    served: bool,
    ramp: Ramp,
    /// What it runs or is to run.
    version: u64,
    /// That version was asked for when its newest process was this one.
    renewed_at: Option<u64>,
    /// It is on its way out of the service.
    dropped: bool,
}

/// How much of its share an instance gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ramp {
    /// All of it.
    Full,
    /// This step of [`RAMP`], until then.
    Step { step: usize, until: u64, tries: u32 },
    /// Nothing until then: it did badly.
    Held { until: u64, tries: u32 },
}

/// A promotion that waits for the old one to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handover {
    op: Option<OpId>,
    from: u32,
    to: u32,
}

/// A version on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rollout {
    op: Option<OpId>,
    /// What everyone ran before.
    from: u64,
    to: u64,
    strategy: Strategy,
    /// It is the way back.
    back: bool,
    /// Somebody wanted it to go back.
    asked_back: bool,
    /// Why it is going back.
    reason: String,
    stage: Stage,
}

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// Between two instances; not later than then for the others to be well.
    Next { until: u64 },
    /// This one was given the new version, at a time when it had died so often.
    Renewing {
        number: u32,
        until: u64,
        deaths: u32,
    },
    /// This one has it and is watched.
    Watching {
        number: u32,
        until: u64,
        deaths: u32,
    },
    /// New ones beside the old ones get ready.
    Beside { until: u64 },
    /// The traffic has gone over to the new ones; the old ones still run.
    Switched { until: u64 },
    /// The new version is good; the old ones run on for a while, in case.
    Kept { until: u64 },
}

/// The instances of one service. Serialisable, so that a new supervisor goes on where the old
/// one was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    policy: Policy,
    plan: Plan,
    members: BTreeMap<u32, Member>,
    /// Shares an operator set.
    shares: BTreeMap<u32, u32>,
    weights: BTreeMap<u32, u32>,
    handover: Option<Handover>,
    rollout: Option<Rollout>,
    version: u64,
    previous: Option<u64>,
    /// Places told as lost, so that it is told once.
    lost: Vec<u32>,
    gave_up: bool,
}

impl Plan {
    /// Every instance active.
    #[must_use]
    pub fn all_active(active: u32) -> Self {
        Self {
            active,
            hot: 0,
            warm: 0,
        }
    }

    /// Instances of all kinds.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.active
            .saturating_add(self.hot)
            .saturating_add(self.warm)
    }
}

impl Facts {
    /// What a restart machine says of its instance.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        Self {
            generation: machine.generation(),
            state: machine.state(),
            up: machine.is_up(),
            // One that is only being started is told once that it is to go, not for ever.
            ending: machine.is_leaving(),
            stuck: machine.is_stuck(),
            fenced: machine.fenced(),
            held: machine.is_held(),
            owes: machine.owes(),
            deaths: machine.deaths(),
        }
    }

    /// Of an instance that never ran.
    #[must_use]
    pub fn never_ran() -> Self {
        Self {
            generation: 0,
            state: State::Stopped,
            up: false,
            ending: false,
            stuck: false,
            fenced: false,
            held: false,
            owes: false,
            deaths: 0,
        }
    }

    /// Fit to take requests.
    fn fit(&self) -> bool {
        self.up && self.state == State::Ready && !self.ending && !self.held
    }

    /// Nothing will come of it by itself.
    fn hopeless(&self) -> bool {
        self.state == State::Failed || self.stuck || self.held
    }
}

impl Action {
    /// What it asks of the restart machine of one instance, if it is about one.
    #[must_use]
    pub fn for_instance(&self) -> Option<(u32, crate::restart::Event)> {
        use crate::restart::Event;
        match self {
            Action::Start(number) => Some((*number, Event::Start)),
            Action::Stop(number) | Action::Drop(number) => {
                Some((*number, Event::Retire(StopMode::Graceful)))
            }
            Action::Fence(number) => Some((*number, Event::Fence)),
            Action::Renew(number, _) => Some((*number, Event::Renew)),
            Action::Assign(..) | Action::Report(_) | Action::Finish(..) => None,
        }
    }
}
