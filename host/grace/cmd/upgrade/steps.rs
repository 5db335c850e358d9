//! From one program to another, one process of Grace after the other, each seen to be well before
//! the next. The same way leads back. It knows nothing of what made the new program fit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grace_api::client::Client;
use grace_model::command::{Command, Outcome};
use grace_model::ipc::FleetStatus;
use grace_model::layout::Layout;
use grace_model::status::Kernel;
use grace_os::lock;
use grace_supervisor::program::{Chosen, Program};
use serde::Deserialize;

use crate::cmd::fleet::line;
use crate::problem::Problem;
use crate::supervisor::Line;

/// The order: who restarts others first, so that whatever is started meanwhile is new.
const ORDER: [&str; 4] = ["keeper", "supervisor", "proxy", "healer"];

/// Time until a renewed process is in place.
const RENEWED: Duration = Duration::from_secs(30);
/// Time until the host is whole again: what the healer gets for its plugins at a start.
const WHOLE: Duration = Duration::from_secs(60);
/// It has to be so at two looks with this between them, so that one that dies right after its
/// start is seen.
const STEADY: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(20);
/// Time until the front has become the new program; it looks five times a second.
const FRONT: Duration = Duration::from_secs(15);
/// Time until a proxy that has a successor is gone: the supervisor's own limit, and some.
const LEFT: Duration = Duration::from_secs(40);
/// Time for one answer of the healer.
const ANSWER: Duration = Duration::from_secs(1);

/// An upgrade of one host.
pub struct Steps<'h> {
    layout: &'h Layout,
    before: FleetStatus,
    /// Told after each step.
    tell: &'h dyn Fn(&str),
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// Processes that were renewed, and their pids.
    pub renewed: Vec<(&'static str, u32)>,
    /// The front became the new program.
    pub front: bool,
    /// Instances whose process is the same as before.
    pub kept: usize,
    /// Of so many that had one.
    pub instances: usize,
}

#[derive(Deserialize)]
struct Kernels {
    kernels: Vec<Kernel>,
}

impl<'h> Steps<'h> {
    pub fn new(layout: &'h Layout, before: FleetStatus, tell: &'h dyn Fn(&str)) -> Self {
        Self {
            layout,
            before,
            tell,
        }
    }

    /// Whether every process runs it already.
    pub fn is_done(&self, target: &Program) -> bool {
        let all = self
            .before
            .processes
            .iter()
            .all(|one| runs(one.pid, target));
        all && self.front().is_none_or(|pid| runs(pid, target))
    }

    /// To `target`; back to `old` if that does not become whole.
    pub fn go(&self, target: &Program, old: &Program) -> Result<Done, Problem> {
        match self.all(target) {
            Ok(done) => Ok(done),
            Err(why) => Err(self.back(old, &why)),
        }
    }

    fn all(&self, target: &Program) -> Result<Done, String> {
        self.choose(target, false)?;
        let mut renewed = Vec::new();
        for name in ORDER {
            let fleet = self.status()?;
            if pid_of(&fleet, name).is_some_and(|pid| runs(pid, target)) {
                continue;
            }
            self.renew(name)?;
            let fleet = self.whole(name, target)?;
            let pid = pid_of(&fleet, name).unwrap_or(0);
            (self.tell)(&format!("{name} is renewed, pid {pid}"));
            renewed.push((name, pid));
        }
        self.choose(target, true)?;
        let front = self.follow(target)?;
        if front {
            (self.tell)("the front is renewed");
        }
        self.left()?;
        let fleet = self.whole("proxy", target)?;
        let processes = |fleet: &FleetStatus| -> BTreeMap<String, u32> {
            let all = fleet.instances.iter().filter(|one| one.pid != 0);
            all.map(|one| (one.id.to_string(), one.pid)).collect()
        };
        let (then, now) = (processes(&self.before), processes(&fleet));
        let kept = then.iter().filter(|(id, pid)| now.get(*id) == Some(*pid));
        Ok(Done {
            renewed,
            front,
            kept: kept.count(),
            instances: then.len(),
        })
    }

    /// Every process runs `old` again, or the message says which do not.
    fn back(&self, old: &Program, why: &str) -> Problem {
        (self.tell)(&format!("going back: {why}"));
        let returned = self.choose(old, true).and_then(|()| {
            // One that cannot even start is followed by the old one within a second.
            self.await_status()?;
            for name in ORDER {
                let runs_old =
                    |fleet: &FleetStatus| pid_of(fleet, name).is_some_and(|pid| runs(pid, old));
                if !runs_old(&self.await_status()?) {
                    self.renew(name)?;
                }
                self.whole(name, old)?;
            }
            self.follow(old).map(drop)
        });
        let log = crate::front::with_log(self.layout);
        match returned {
            Ok(()) => Problem::no(
                format!(
                    "the new program did not become whole: {why}; the host runs the one before again"
                ),
                log,
            ),
            Err(also) => Problem::no(
                format!(
                    "the new program did not become whole: {why}; and the way back to {} is not at its end: {also}",
                    old.path.display()
                ),
                format!(
                    "`grace upgrade {}` goes on with it; {log}",
                    old.path.display()
                ),
            ),
        }
    }

    fn choose(&self, program: &Program, settled: bool) -> Result<(), String> {
        let chosen = Chosen {
            program: program.clone(),
            settled,
        };
        chosen.write(self.layout).map_err(|error| error.to_string())
    }

    fn renew(&self, name: &str) -> Result<(), String> {
        let process = name.to_owned();
        let outcome = line::ask(self.layout, Command::RenewProcess { process }, RENEWED)
            .map_err(|problem| format!("{name}: {problem}"))?;
        match outcome {
            Outcome::Done { .. } => Ok(()),
            Outcome::Refused { reason, .. } | Outcome::TimedOut { reason } => Err(reason),
        }
    }

    fn status(&self) -> Result<FleetStatus, String> {
        crate::supervisor::status(self.layout).map_err(|problem| problem.to_string())
    }

    fn await_status(&self) -> Result<FleetStatus, String> {
        let end = Instant::now() + WHOLE;
        loop {
            match Line::connect(self.layout).and_then(|mut line| line.status()) {
                Ok(fleet) => return Ok(fleet),
                Err(error) if Instant::now() > end => {
                    return Err(format!("the supervisor does not answer: {error}"));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Waits until the host is as whole as it was before, and `name` runs `target`.
    fn whole(&self, name: &str, target: &Program) -> Result<FleetStatus, String> {
        let end = Instant::now() + WHOLE;
        let mut steady: Option<(Instant, Vec<u32>)> = None;
        loop {
            let missing = match Line::connect(self.layout).and_then(|mut line| line.status()) {
                Ok(fleet) => match self.missing(&fleet, name, target) {
                    None => {
                        let pids = pids(&fleet);
                        match &steady {
                            Some((since, same)) if *same == pids => {
                                if since.elapsed() >= STEADY {
                                    return Ok(fleet);
                                }
                            }
                            _ => steady = Some((Instant::now(), pids)),
                        }
                        format!("the {name} does not stay")
                    }
                    Some(missing) => {
                        steady = None;
                        missing
                    }
                },
                Err(error) => {
                    steady = None;
                    format!("the supervisor does not answer: {error}")
                }
            };
            if Instant::now() > end {
                return Err(format!(
                    "after the {name}, {} s later: {missing}",
                    WHOLE.as_secs()
                ));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn missing(&self, fleet: &FleetStatus, name: &str, target: &Program) -> Option<String> {
        if let Some(none) = fleet.processes.iter().find(|one| one.pid == 0) {
            return Some(format!("no {} runs", none.name));
        }
        if !pid_of(fleet, name).is_some_and(|pid| runs(pid, target)) {
            return Some(format!("the {name} is not of {}", target.path.display()));
        }
        for then in &self.before.services {
            let now = fleet.services.iter().find(|one| one.name == then.name);
            let ready = now.map_or(0, |one| one.ready);
            if ready < then.ready.min(then.instances) {
                return Some(format!("{} has {ready} of {} ready", then.name, then.ready));
            }
        }
        let api = Client::new(&self.layout.api_socket(), ANSWER);
        match api.get::<Kernels>("/v1/kernels") {
            Ok(all) => all
                .kernels
                .iter()
                .find(|kernel| kernel.state != "running")
                .map(|kernel| format!("kernel {} is {}", kernel.name, kernel.state)),
            Err(error) => Some(format!("the healer does not answer: {error}")),
        }
    }

    /// Who stays in front, if somebody does.
    fn front(&self) -> Option<u32> {
        lock::holder(&self.layout.front_lock())
    }

    /// Waits until the front has become `target`; whether there is one.
    fn follow(&self, target: &Program) -> Result<bool, String> {
        let Some(pid) = self.front() else {
            return Ok(false);
        };
        let end = Instant::now() + FRONT;
        loop {
            if self.front() == Some(pid) && runs(pid, target) {
                return Ok(true);
            }
            if Program::of_process(pid).is_none() {
                return Err(format!(
                    "the front (pid {pid}) has ended; `grace up` takes its place"
                ));
            }
            if Instant::now() > end {
                return Err(format!("the front (pid {pid}) goes on with what it runs"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until no proxy ends what it had any more.
    fn left(&self) -> Result<(), String> {
        let end = Instant::now() + LEFT;
        loop {
            let fleet = self.status()?;
            let all = fleet.processes.iter().flat_map(|one| &one.leaving);
            match all.copied().next() {
                None => return Ok(()),
                Some(pid) if Instant::now() > end => {
                    return Err(format!("the old proxy (pid {pid}) does not end"));
                }
                Some(_) => std::thread::sleep(LOOK),
            }
        }
    }
}

/// Whether a process runs that file, whatever its name.
fn runs(pid: u32, program: &Program) -> bool {
    Program::of_process(pid).is_some_and(|running| running.is_same(program))
}

fn pid_of(fleet: &FleetStatus, name: &str) -> Option<u32> {
    let mut all = fleet.processes.iter();
    all.find(|one| one.name == name).map(|one| one.pid)
}

fn pids(fleet: &FleetStatus) -> Vec<u32> {
    fleet.processes.iter().map(|one| one.pid).collect()
}
