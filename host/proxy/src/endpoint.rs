//! One process of an instance, as all threads of the proxy share it: where it listens and what
//! is known against it. Plain words and atomic flags; it knows nothing of HTTP, of weights or
//! of who decides.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use grace_model::event::Subject;
use grace_model::instance::{ExitCause, ProcessId};
use tokio::sync::Notify;

use crate::address::Address;
use crate::meter::Meter;
use crate::ramp;
use crate::socket::Stream;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Its process has ended.
const DEAD: u8 = 1;
/// Taken out of rotation by the proxy itself.
const EJECTED: u8 = 2;
/// Its process is stopped (state T).
const STOPPED: u8 = 4;
/// No connection of it may stay open.
const FENCED: u8 = 8;

/// No trial is offered.
const TRIAL_NONE: u8 = 0;
/// One trial request may be given to it.
const TRIAL_OPEN: u8 = 1;
/// The trial request is on its way.
const TRIAL_TAKEN: u8 = 2;

/// One process of an instance.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Unique in this proxy process.
    pub(crate) id: u64,
    /// Which instance, which generation.
    pub(crate) subject: Subject,
    /// Where it listens.
    pub(crate) addr: Option<Address>,
    /// Its process.
    pub(crate) process: Option<ProcessId>,
    /// The handle of exactly that process, opened when it was first heard of.
    pub(crate) handle: Option<OwnedFd>,
    flags: AtomicU8,
    trial: AtomicU8,
    streak: AtomicU32,
    /// Failures ever.
    failures: AtomicU32,
    /// The share of its weight that it gets, in percent.
    share: AtomicU8,
    /// What is in flight on it, and its limit.
    pub(crate) meter: Meter,
    cause: OnceLock<ExitCause>,
    told: Notify,
    /// The port of a relay that connections go to instead; 0: none.
    detour: AtomicU16,
}

/// What a request's end says about the instance it was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It could not be connected to.
    Unreachable,
    /// It was given a request and never answered.
    Unanswered,
    /// It answered 500 or above.
    ServerError,
}

impl Failure {
    /// For a person.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Failure::Unreachable => "could not be connected to",
            Failure::Unanswered => "did not answer",
            Failure::ServerError => "answered with server errors",
        }
    }
}

impl Endpoint {
    pub(crate) fn new(
        subject: Subject,
        addr: Option<Address>,
        process: Option<ProcessId>,
        handle: Option<OwnedFd>,
        threads: usize,
    ) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            subject,
            addr,
            process,
            handle,
            flags: AtomicU8::new(0),
            trial: AtomicU8::new(TRIAL_NONE),
            streak: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            share: AtomicU8::new(ramp::WHOLE),
            meter: Meter::new(threads),
            cause: OnceLock::new(),
            told: Notify::new(),
            detour: AtomicU16::new(0),
        }
    }

    /// A new connection to it, or to the relay that stands before it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(&self, addr: &Address) -> std::io::Result<Stream> {
        match self.detour() {
            0 => addr.connect().await,
            port => {
                Address::Tcp((std::net::Ipv4Addr::LOCALHOST, port).into())
                    .connect()
                    .await
            }
        }
    }

    /// The port of the relay before it; 0: none.
    pub(crate) fn detour(&self) -> u16 {
        self.detour.load(Ordering::Relaxed)
    }

    /// True when it was another before.
    pub(crate) fn set_detour(&self, port: u16) -> bool {
        self.detour.swap(port, Ordering::Relaxed) != port
    }

    /// Nothing is known against it.
    pub(crate) fn clear(&self) -> bool {
        self.flags.load(Ordering::Acquire) == 0
    }

    /// Whether a request may be given to it when there is nothing better: ejected, but alive,
    /// running and not fenced.
    pub(crate) fn usable(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (DEAD | STOPPED | FENCED) == 0
    }

    pub(crate) fn dead(&self) -> bool {
        self.has(DEAD)
    }

    pub(crate) fn ejected(&self) -> bool {
        self.has(EJECTED)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.has(STOPPED)
    }

    pub(crate) fn fenced(&self) -> bool {
        self.has(FENCED)
    }

    /// True when it was not marked before.
    pub(crate) fn mark_dead(&self) -> bool {
        let first = self.set(DEAD);
        self.told.notify_waiters();
        first
    }

    /// True when it was not marked before.
    pub(crate) fn mark_stopped(&self) -> bool {
        self.set(STOPPED)
    }

    /// True when it was marked before.
    pub(crate) fn mark_running(&self) -> bool {
        self.unset(STOPPED)
    }

    /// True when it was not marked before.
    pub(crate) fn mark_ejected(&self) -> bool {
        self.trial.store(TRIAL_NONE, Ordering::Release);
        self.set(EJECTED)
    }

    /// Back in rotation, with a clean slate.
    pub(crate) fn mark_returned(&self) {
        self.streak.store(0, Ordering::Relaxed);
        self.trial.store(TRIAL_NONE, Ordering::Release);
        self.unset(EJECTED);
    }

    pub(crate) fn mark_fenced(&self, fenced: bool) {
        if fenced {
            self.set(FENCED);
        } else {
            self.unset(FENCED);
        }
    }

    /// How its process ended, told by the supervisor. The first word stands.
    pub(crate) fn tell_cause(&self, cause: ExitCause) {
        let _ = self.cause.set(cause);
        self.told.notify_waiters();
    }

    pub(crate) fn cause(&self) -> Option<&ExitCause> {
        self.cause.get()
    }

    /// Resolves at the next word about its death; made before looking, so that none is missed.
    pub(crate) fn told(&self) -> tokio::sync::futures::Notified<'_> {
        self.told.notified()
    }

    /// Another failure in a row; how many there are now.
    pub(crate) fn add_failure(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.streak
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// Failures ever.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The share of its weight that it gets, in percent.
    pub(crate) fn share(&self) -> u8 {
        self.share.load(Ordering::Relaxed)
    }

    pub(crate) fn set_share(&self, percent: u8) {
        self.share.store(percent, Ordering::Relaxed);
    }

    /// A success ends the row. A plain load first: the line is shared by all threads.
    pub(crate) fn end_failures(&self) {
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn offer_trial(&self) {
        self.trial.store(TRIAL_OPEN, Ordering::Release);
    }

    pub(crate) fn trial_open(&self) -> bool {
        self.trial.load(Ordering::Acquire) == TRIAL_OPEN
    }

    /// True for the one who may make the trial.
    pub(crate) fn take_trial(&self) -> bool {
        self.trial
            .compare_exchange(TRIAL_OPEN, TRIAL_TAKEN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The trial came to nothing (the client went away): offer it again.
    pub(crate) fn give_trial_back(&self) {
        let _ = self.trial.compare_exchange(
            TRIAL_TAKEN,
            TRIAL_OPEN,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u8) -> bool {
        self.flags.fetch_or(flag, Ordering::AcqRel) & flag == 0
    }

    fn unset(&self, flag: u8) -> bool {
        self.flags.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }
}
