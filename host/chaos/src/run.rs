//! One fault from beginning to end: steady before, induced by its owner, watched from outside,
//! ended, whole again, nothing left.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use grace_demo::{client, judge};
use grace_os::process;
use serde_json::Value;

use crate::Options;
use crate::catalogue::{Deed, Expect, Family, Fault};
use crate::host::{Host, Instance, probe_path};
use crate::owner::Order;
use crate::record;
use crate::report::Report;
use crate::trial::{Asking, good};

const LOOK: Duration = Duration::from_millis(50);
/// Good answers in a row that make a steady host.
const STEADY: u32 = 5;
/// Requests that are asked before the fault and after its end.
const AROUND: u64 = 10;

/// Induces a fault on a target and judges what comes of it.
///
/// # Errors
/// When it could not be induced: no such target, no `chaos = true`, no steady state, no deed.
pub fn run(options: &Options, fault: &'static Fault, target: &str) -> Result<Report> {
    let host = Host::new(options);
    let stage = stage(options, &host, fault, target)?;
    stage.steady()?;
    let mut report = Report {
        fault: fault.name.to_owned(),
        target: stage.order.target.clone(),
        ..Report::default()
    };
    let known: Vec<Value> = host.incidents().unwrap_or_default();
    let asking = stage
        .order
        .front
        .map(|front| Asking::start(front, stage.order.path.clone()));
    if let Some(asking) = &asking {
        stage.until(options.patience, || asking.sent() >= AROUND)?;
    }
    let begun = Instant::now();
    let owner = Owner::start(&stage.order)?;
    let watched = stage.watch(&known, begun, &owner, &mut report);
    let met = owner.end()?;
    watched?;
    if let Some(met) = met {
        report.assert(
            met > 0,
            format!("the fault met {met} connections or requests"),
        );
    }
    stage.whole(&known, begun, &mut report)?;
    if let Some(asking) = asking {
        let until = asking.sent() + AROUND;
        stage.until(options.patience, || {
            asking.sent() >= until && asking.served()
        })?;
        let (requests, mitigated) = asking.end(begun);
        report.mitigate_ms = mitigated.map(millis);
        report.assert(mitigated.is_some(), "clients are served in the end");
        if fault.spares {
            let failed = requests.failed;
            report.assert(failed == 0, format!("no request failed ({failed} did)"));
        }
        report.requests = requests;
    }
    report.assert(
        record::all(&host.layout).is_empty(),
        "nothing of the fault is left",
    );
    report.passed = report.assertions.iter().all(|one| one.holds);
    Ok(report)
}

struct Stage<'a> {
    options: &'a Options,
    host: &'a Host,
    fault: &'static Fault,
    order: Order,
}

fn stage<'a>(
    options: &'a Options,
    host: &'a Host,
    fault: &'static Fault,
    target: &str,
) -> Result<Stage<'a>> {
    let all = host.instances()?;
    // A process of Grace has no service; clients are those of the first that allows it.
    let part = match fault.deed {
        Deed::Part(name, _) => Some(name),
        _ => None,
    };
    let instance = match part {
        None => host.instance(target)?,
        Some(_) => all
            .iter()
            .find(|one| host.service(&one.service).is_ok_and(|it| it.chaos))
            .cloned()
            .context("no service has `chaos = true` in grace.toml")?,
    };
    let service = host.service(&instance.service)?;
    if !service.chaos {
        bail!(
            "service {} does not allow faults; write `chaos = true` under its [[service]] in \
             grace.toml and start it anew",
            service.name
        );
    }
    let pid = match part {
        Some(name) => host.part(name),
        None => instance.pid,
    };
    let target = part.map_or(instance.id.clone(), str::to_owned);
    let process = process::identity(pid)
        .filter(|_| pid != 0)
        .with_context(|| format!("{target} has no process now"))?;
    let probe = probe_path(&service);
    let order = Order {
        fault: fault.name.to_owned(),
        target,
        process,
        port: instance.port,
        front: host.front(service.name.as_str()),
        path: options
            .path
            .clone()
            // What is asked by the probe is spared by faults of answers.
            .or_else(|| probe.clone().filter(|_| fault.family != Family::Http))
            .unwrap_or_else(|| "/".to_owned()),
        probe,
        files: host.files(&service, &instance.id),
        lasts_ms: options.lasts.map_or(fault.lasts_ms, millis),
        state: options.state.clone(),
        grace: options.grace.clone(),
    };
    Ok(Stage {
        options,
        host,
        fault,
        order,
    })
}

impl Stage<'_> {
    /// Waits; whether it came to that.
    fn until(&self, patience: Duration, mut holds: impl FnMut() -> bool) -> Result<bool> {
        let begun = Instant::now();
        loop {
            if self.options.stop.load(Ordering::Relaxed) {
                bail!("it was interrupted");
            }
            if holds() {
                return Ok(true);
            }
            if begun.elapsed() >= patience {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Before: no other fault, all instances ready, clients served, no open incident.
    fn steady(&self) -> Result<()> {
        if let Some((_, other)) = record::all(&self.host.layout).into_iter().next() {
            let (fault, target) = (other.fault, other.target);
            bail!("the fault {fault} of {target} is not over; one at a time");
        }
        let mut why = String::new();
        let mut row = 0;
        let steady = self.until(self.options.patience, || {
            match self.unsteady() {
                None => row += 1,
                Some(reason) => {
                    why = reason;
                    row = 0;
                }
            }
            row >= STEADY
        })?;
        match steady {
            true => Ok(()),
            false => bail!("the host is not steady before the fault: {why}"),
        }
    }

    fn unsteady(&self) -> Option<String> {
        let all = match self.host.instances() {
            Ok(all) => all,
            Err(error) => return Some(format!("{error:#}")),
        };
        if let Some(one) = all.iter().find(|one| !settled(one)) {
            return Some(format!("{} is {}", one.id, one.state));
        }
        let Some(incidents) = self.host.incidents() else {
            return Some("the healer does not answer".to_owned());
        };
        if let Some(one) = incidents.iter().find(|one| open(one)) {
            return Some(format!("incident {} is {}", one["id"], one["state"]));
        }
        let front = self.order.front?;
        (!good(front, &self.order.path))
            .then(|| format!("{} of {front} is not served", self.order.path))
    }

    /// While it lasts.
    fn watch(
        &self,
        known: &[Value],
        begun: Instant,
        owner: &Owner,
        report: &mut Report,
    ) -> Result<()> {
        let lasts = Duration::from_millis(self.order.lasts_ms);
        match self.fault.expect {
            Expect::Heals => {
                let seen = self.until(self.options.patience, || {
                    self.incident(known).is_some_and(|incident| {
                        report.detect_ms.get_or_insert(millis(begun.elapsed()));
                        !open(&incident)
                    })
                })?;
                report.assert(
                    report.detect_ms.is_some(),
                    format!("an incident of {} is opened", self.order.target),
                );
                if report.detect_ms.is_some() {
                    report.assert(seen, "the incident comes to an end");
                }
            }
            Expect::Returns => {
                let old = self.order.process.pid;
                let back = self.until(self.options.patience, || {
                    if !judge::runs(old) {
                        report.detect_ms.get_or_insert(millis(begun.elapsed()));
                    }
                    let new = self.host.part(&self.order.target);
                    new != 0 && new != old && judge::runs(new)
                })?;
                report.assert(
                    back,
                    format!("{} is back as another process", self.order.target),
                );
            }
            Expect::Rides => {
                self.until(lasts + Duration::from_secs(1), || {
                    if self.incident(known).is_some() {
                        report.detect_ms.get_or_insert(millis(begun.elapsed()));
                    }
                    owner.is_over()
                })?;
            }
        }
        Ok(())
    }

    /// After: all instances ready and answering by themselves, nothing being healed any more.
    fn whole(&self, known: &[Value], begun: Instant, report: &mut Report) -> Result<()> {
        let mut why = String::new();
        let whole = self.until(self.options.patience, || match self.broken() {
            None => true,
            Some(reason) => {
                why = reason;
                false
            }
        })?;
        if whole {
            report.heal_ms = Some(millis(begun.elapsed()));
        }
        report.assert(whole, format!("all is whole again{}", because(&why, whole)));
        if let Some(incident) = self.incident(known) {
            let word = |key: &str| incident[key].as_str().map(str::to_owned);
            report.incident = word("id");
            report.playbook = word("playbook");
            if self.fault.expect == Expect::Heals {
                report.assert(
                    incident["state"] == "resolved",
                    format!("the incident is resolved (it is {})", incident["state"]),
                );
            }
        }
        for file in &self.order.files {
            if self.fault.family == Family::Config {
                report.assert(file.is_file(), format!("{} is there", file.display()));
            }
        }
        Ok(())
    }

    fn broken(&self) -> Option<String> {
        let all = match self.host.instances() {
            Ok(all) => all,
            Err(error) => return Some(format!("{error:#}")),
        };
        for one in &all {
            if !settled(one) {
                return Some(format!("{} is {}", one.id, one.state));
            }
            if one.pid == 0 {
                continue;
            }
            if !judge::runs(one.pid) {
                return Some(format!("pid {} of {} does not run", one.pid, one.id));
            }
            let path = &self.order.path;
            let asked = one.port != 0 && self.order.probe.is_some();
            if asked
                && !client::ask(one.port, path).is_some_and(|it| (200..400).contains(&it.status))
            {
                return Some(format!("{} does not answer {path} itself", one.id));
            }
        }
        let Some(incidents) = self.host.incidents() else {
            return Some("the healer does not answer".to_owned());
        };
        let open = incidents.iter().find(|one| open(one))?;
        Some(format!("incident {} is {}", open["id"], open["state"]))
    }

    /// The newest incident of the target that was not there, or not open, before.
    fn incident(&self, known: &[Value]) -> Option<Value> {
        let all = self.host.incidents()?;
        all.into_iter().rev().find(|one| {
            one["target"] == self.order.target.as_str()
                && !known.iter().any(|old| {
                    let same = |key: &str| old[key] == one[key];
                    same("id") && same("findings") && same("recurrences")
                })
        })
    }
}

fn because(why: &str, whole: bool) -> String {
    match whole {
        true => String::new(),
        false => format!(" ({why})"),
    }
}

/// Where it should be: a standby that is not started is too.
fn settled(one: &Instance) -> bool {
    one.state == "ready" || (one.role == "warm" && one.state == "stopped")
}

/// Whether Grace is still at it. An escalated one is a person's, and one about the machine, such
/// as busy processors, says nothing of the target.
fn open(incident: &Value) -> bool {
    incident["target"] != "host"
        && !matches!(incident["state"].as_str(), Some("resolved" | "escalated"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The process that owns the fault. Dropped, it is told to end, and waited for.
struct Owner {
    child: Child,
    word: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
    lasts: Instant,
}

impl Owner {
    fn start(order: &Order) -> Result<Self> {
        let mut child = Command::new(&order.grace)
            .args(["internal", "chaos-owner"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the fault's owner")?;
        let word = child.stdin.take();
        let answer = BufReader::new(child.stdout.take().context("no line from the owner")?);
        let mut owner = Self {
            child,
            word,
            answer,
            lasts: Instant::now() + Duration::from_millis(order.lasts_ms),
        };
        let text = serde_json::to_string(order)?;
        let stdin = owner.word.as_mut().context("no line to the owner")?;
        writeln!(stdin, "{text}")?;
        let mut line = String::new();
        owner.answer.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["induced"] == true {
            owner.lasts = Instant::now() + Duration::from_millis(order.lasts_ms);
            return Ok(owner);
        }
        match said["refused"].as_str() {
            Some(why) => bail!("{why}"),
            None => bail!("the fault's owner ended without a word"),
        }
    }

    /// Whether its time is over.
    fn is_over(&self) -> bool {
        Instant::now() >= self.lasts
    }

    /// Ends the fault, and waits until it is undone.
    fn end(mut self) -> Result<Option<u64>> {
        self.tell();
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        let status = self.child.wait()?;
        // It may have been killed: what it left is undone here.
        if !status.success() {
            bail!(
                "the fault's owner ended with {status}; `grace up` and `grace down` undo what it left"
            );
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        Ok(said["met"].as_u64())
    }

    fn tell(&mut self) {
        if let Some(mut word) = self.word.take() {
            let _ = writeln!(word, "end");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.tell();
        let _ = self.child.wait();
    }
}
