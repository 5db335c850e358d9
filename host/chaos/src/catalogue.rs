//! The faults that there are: what each does, what is expected of Grace, what it spares.

use grace_os::Signal;
use serde::Serialize;

use crate::deed::file::Harm;
use crate::deed::flood::Flood;
use crate::deed::load::Load;
use crate::deed::relay::Toxic;

/// A fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What it is of.
    pub family: Family,
    /// What is done, for a person.
    pub what: &'static str,
    /// What must be seen of Grace.
    pub expect: Expect,
    /// Whether no request that may be tried again may fail of it.
    pub spares: bool,
    /// How long it lasts, in milliseconds.
    pub lasts_ms: u64,
    pub(crate) deed: Deed,
}

/// What a fault is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The process of an instance.
    Process,
    /// Processor, memory, processes, descriptors of an instance.
    Resource,
    /// The way between load balancer and instance.
    Network,
    /// What an instance answers.
    Http,
    /// Declared configuration files.
    Config,
    /// Grace's own processes.
    Grace,
    /// Clients.
    Flood,
}

/// What must be seen of Grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// An incident about the instance is opened and resolved, and the instance serves again.
    Heals,
    /// Clients are served while it lasts, and all is whole when it is over.
    Rides,
    /// A process of Grace comes back as another, and clients are served.
    Returns,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    /// A signal to the instance.
    Signal(Signal),
    /// A signal to a process of Grace.
    Part(&'static str, Signal),
    /// A process inside the instance's control group.
    Load(Load),
    /// A declared file.
    File(Harm),
    /// A relay before the instance.
    Relay(Toxic),
    /// Requests or connections.
    Flood(Flood),
}

const fn entry(
    name: &'static str,
    family: Family,
    (expect, spares): (Expect, bool),
    lasts_ms: u64,
    deed: Deed,
    what: &'static str,
) -> Fault {
    Fault {
        name,
        family,
        what,
        expect,
        spares,
        lasts_ms,
        deed,
    }
}

/// Healed, and nobody noticed.
const HEALS: (Expect, bool) = (Expect::Heals, true);
/// Healed, but requests on it may be lost: nobody knows whether they were the reason.
const HEALS_SUSPECT: (Expect, bool) = (Expect::Heals, false);
const RIDES: (Expect, bool) = (Expect::Rides, true);
const RIDES_LOSSY: (Expect, bool) = (Expect::Rides, false);
const RETURNS: (Expect, bool) = (Expect::Returns, true);
/// The proxy's own death: what was sent on connections that it had accepted is lost.
const RETURNS_LOSSY: (Expect, bool) = (Expect::Returns, false);

/// A death needs no time; a stop is over when it was replaced.
const AT_ONCE: u64 = 0;
const STOPPED: u64 = 20_000;
const WHILE: u64 = 5_000;

use Family::{Config, Flood as Floods, Grace, Http, Network, Process, Resource};

/// All of them.
pub const ALL: &[Fault] = &[
    entry(
        "kill",
        Process,
        HEALS,
        AT_ONCE,
        Deed::Signal(Signal::Kill),
        "SIGKILL to the instance",
    ),
    entry(
        "term",
        Process,
        HEALS,
        AT_ONCE,
        Deed::Signal(Signal::Terminate),
        "SIGTERM to the instance, behind Grace's back",
    ),
    entry(
        "stop",
        Process,
        HEALS,
        STOPPED,
        Deed::Signal(Signal::Stop),
        "SIGSTOP to the instance",
    ),
    entry(
        "interrupt",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Interrupt),
        "SIGINT to the instance",
    ),
    entry(
        "quit",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Quit),
        "SIGQUIT to the instance",
    ),
    entry(
        "abort",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Abort),
        "SIGABRT to the instance",
    ),
    entry(
        "segfault",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Segmentation),
        "SIGSEGV to the instance",
    ),
    entry(
        "bus-error",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Bus),
        "SIGBUS to the instance",
    ),
    entry(
        "illegal-instruction",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Illegal),
        "SIGILL to the instance",
    ),
    entry(
        "arithmetic-error",
        Process,
        HEALS_SUSPECT,
        AT_ONCE,
        Deed::Signal(Signal::Arithmetic),
        "SIGFPE to the instance",
    ),
    entry(
        "cpu-burn",
        Resource,
        RIDES,
        WHILE,
        Deed::Load(Load::Cpu),
        "a loop a core inside the instance's control group; needs `limits.cpu`",
    ),
    entry(
        "memory-leak",
        Resource,
        RIDES_LOSSY,
        WHILE,
        Deed::Load(Load::Memory),
        "memory taken inside the instance's control group until it is ended; needs `limits.memory`",
    ),
    entry(
        "fork-bomb",
        Resource,
        RIDES,
        WHILE,
        Deed::Load(Load::Forks),
        "processes inside the instance's control group, up to its limit; needs `limits.pids`",
    ),
    entry(
        "descriptor-leak",
        Resource,
        RIDES_LOSSY,
        WHILE,
        Deed::Flood(Flood::Instance),
        "200 idle connections that the instance must hold",
    ),
    entry(
        "net-latency",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Latency {
            ms: 1_000,
            jitter: 0,
        }),
        "1,000 ms more for each answer on the way to the instance",
    ),
    entry(
        "net-jitter",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Latency {
            ms: 20,
            jitter: 400,
        }),
        "20 to 420 ms more for each answer",
    ),
    entry(
        "net-down",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Down),
        "connections to the instance are refused",
    ),
    entry(
        "net-bandwidth",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Bandwidth { bytes: 4_096 }),
        "4 KiB a second from the instance",
    ),
    entry(
        "net-timeout",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Timeout { ms: 2_000 }),
        "connections are taken, never answered, and closed after 2 s",
    ),
    entry(
        "net-partition",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Partition),
        "connections are taken and nothing moves on them",
    ),
    entry(
        "net-reset",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Reset),
        "connections are reset when a request comes",
    ),
    entry(
        "net-slicing",
        Network,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Slicing { bytes: 7 }),
        "answers come seven bytes at a time",
    ),
    entry(
        "net-limit",
        Network,
        RIDES_LOSSY,
        WHILE,
        Deed::Relay(Toxic::Limit { bytes: 90 }),
        "connections close after 90 bytes of an answer",
    ),
    entry(
        "http-errors",
        Http,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Errors),
        "every request but the probe's is answered 500",
    ),
    entry(
        "http-slow",
        Http,
        RIDES,
        WHILE,
        Deed::Relay(Toxic::Slow { ms: 1_500 }),
        "every request but the probe's waits 1.5 s",
    ),
    entry(
        "http-schema",
        Http,
        RIDES_LOSSY,
        WHILE,
        Deed::Relay(Toxic::Schema),
        "every request but the probe's is answered 200 with another document",
    ),
    entry(
        "config-rubbish",
        Config,
        HEALS,
        STOPPED,
        Deed::File(Harm::Rubbish),
        "a declared configuration file is overwritten with rubbish",
    ),
    entry(
        "config-truncated",
        Config,
        HEALS,
        STOPPED,
        Deed::File(Harm::Truncated),
        "a declared configuration file is cut in the middle",
    ),
    entry(
        "config-empty",
        Config,
        HEALS,
        STOPPED,
        Deed::File(Harm::Empty),
        "a declared configuration file is emptied",
    ),
    entry(
        "config-deleted",
        Config,
        HEALS,
        STOPPED,
        Deed::File(Harm::Deleted),
        "a declared configuration file is deleted",
    ),
    entry(
        "config-flipped",
        Config,
        HEALS,
        STOPPED,
        Deed::File(Harm::Flipped),
        "the first byte of a declared configuration file is changed",
    ),
    entry(
        "keeper-kill",
        Grace,
        RETURNS,
        AT_ONCE,
        Deed::Part("keeper", Signal::Kill),
        "SIGKILL to Grace's keeper",
    ),
    entry(
        "supervisor-kill",
        Grace,
        RETURNS,
        AT_ONCE,
        Deed::Part("supervisor", Signal::Kill),
        "SIGKILL to Grace's supervisor",
    ),
    entry(
        "healer-kill",
        Grace,
        RETURNS,
        AT_ONCE,
        Deed::Part("healer", Signal::Kill),
        "SIGKILL to Grace's healer",
    ),
    entry(
        "proxy-kill",
        Grace,
        RETURNS_LOSSY,
        AT_ONCE,
        Deed::Part("proxy", Signal::Kill),
        "SIGKILL to Grace's proxy",
    ),
    entry(
        "healer-pause",
        Grace,
        RIDES,
        2_000,
        Deed::Part("healer", Signal::Stop),
        "SIGSTOP to Grace's healer for 2 s",
    ),
    entry(
        "supervisor-pause",
        Grace,
        RIDES,
        300,
        Deed::Part("supervisor", Signal::Stop),
        "SIGSTOP to Grace's supervisor for 300 ms",
    ),
    entry(
        "flood-requests",
        Floods,
        RIDES,
        WHILE,
        Deed::Flood(Flood::Requests),
        "16 clients that ask as fast as they can",
    ),
    entry(
        "flood-connections",
        Floods,
        RIDES,
        WHILE,
        Deed::Flood(Flood::Idle),
        "200 clients that connect and say nothing",
    ),
    entry(
        "flood-slow",
        Floods,
        RIDES,
        WHILE,
        Deed::Flood(Flood::Slow),
        "100 clients that send a byte of their request a second",
    ),
];

/// The fault of this name.
#[must_use]
pub fn fault(name: &str) -> Option<&'static Fault> {
    ALL.iter().find(|one| one.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_forty_faults_and_no_two_of_one_name() {
        let names: std::collections::BTreeSet<&str> = ALL.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(ALL.len(), 40);
    }
}
