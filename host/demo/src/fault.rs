//! The four faults: how each is induced, and how the judge sees that it is over.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use grace_os::Signal;
use serde::{Serialize, Serializer};

use crate::fleet::{CONFIG, Fleet, Incident, Instance};
use crate::judge;
use crate::screen::Screen;
use crate::strike::strike;

/// Good looks of the judge's in a row, `LOOK` apart, that make a recovery.
const GOOD_LOOKS: u32 = 3;
const LOOK: Duration = Duration::from_millis(50);
/// Time for looking that is left in any case.
const LAST_LOOKS: Duration = Duration::from_secs(1);
/// Time between two readings of the story of an incident that is not over.
const STORY: Duration = Duration::from_millis(400);

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`.
    Crash,
    /// SIGSTOP.
    Hang,
    /// The configuration is overwritten with rubbish.
    ConfigCorrupt,
    /// SIGSTOP, and the healer is killed in the middle of the restart.
    HealerKilled,
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Fault {
    /// In the order they are induced.
    pub fn all() -> [Fault; 4] {
        [
            Fault::Crash,
            Fault::Hang,
            Fault::ConfigCorrupt,
            Fault::HealerKilled,
        ]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Crash => "crash",
            Fault::Hang => "hang",
            Fault::ConfigCorrupt => "config-corrupt",
            Fault::HealerKilled => "healer-killed",
        }
    }

    /// What is done, for a person.
    pub fn deed(self) -> &'static str {
        match self {
            Fault::Crash => "kill -9 of its process",
            Fault::Hang => "SIGSTOP to its process",
            Fault::ConfigCorrupt => "its configuration is overwritten with rubbish",
            Fault::HealerKilled => {
                "SIGSTOP, and kill -9 of the healer between the restart's start and its receipt"
            }
        }
    }
}

/// What came of a fault. Times are from the fault, and none when it never came to that.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Which.
    pub fault: Fault,
    /// An incident was open.
    pub detected_ms: Option<u64>,
    /// The judge's first good look.
    pub restored_ms: Option<u64>,
    /// The judge's good looks in a row were enough, and the incident is resolved.
    pub healed_ms: Option<u64>,
    /// The playbook that healed it.
    pub playbook: Option<String>,
    /// Its incident.
    pub incident: Option<String>,
    /// The judge's verdict, and that a playbook closed the incident.
    pub healed: bool,
}

/// Induces a fault and watches until it is healed or patience ends.
pub fn induce(
    fault: Fault,
    id: &str,
    fleet: &Fleet,
    patience: Duration,
    screen: &mut Screen,
) -> Result<Outcome> {
    let before = fleet.instance(id)?;
    if before.pid == 0 || !judge::runs(before.pid) {
        bail!("{id} does not run before the fault");
    }
    let at = now_ms();
    let begun = Instant::now();
    screen.fault(fault, id);
    let mut induced = true;
    match fault {
        Fault::Crash => strike(before.pid, Signal::Kill)?,
        Fault::Hang => strike(before.pid, Signal::Stop)?,
        Fault::ConfigCorrupt => {
            let file = fleet.config_file(id);
            fs::write(&file, "{ \"greeting\": \"hel")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Fault::HealerKilled => {
            induced = kill_healer_midway(fleet, &before, patience, screen)?;
        }
    }
    let case = Case {
        fault,
        at,
        begun,
        before: &before,
        fleet,
        patience,
    };
    let mut outcome = watch(&case, screen)?;
    if !induced {
        // What was announced was not induced: whatever happened instead proves nothing.
        outcome.healed = false;
        outcome.healed_ms = None;
    }
    Ok(outcome)
}

struct Case<'a> {
    fault: Fault,
    at: u64,
    begun: Instant,
    before: &'a Instance,
    fleet: &'a Fleet,
    patience: Duration,
}

fn watch(case: &Case<'_>, screen: &mut Screen) -> Result<Outcome> {
    let id = &case.before.id;
    let mut outcome = Outcome {
        fault: case.fault,
        detected_ms: None,
        restored_ms: None,
        healed_ms: None,
        playbook: None,
        incident: None,
        healed: false,
    };
    let mut good = 0;
    let mut looks = 0;
    let mut first_good = None;
    let mut told = Instant::now();
    // Inducing may have used up the time; a look or two are owed all the same.
    let end = case.patience.max(case.begun.elapsed() + LAST_LOOKS);
    while case.begun.elapsed() < end {
        looks += 1;
        if let Some(incident) = newest(case.fleet.incidents(), id, case.at) {
            let news = screen.incident(&incident);
            if news || (incident.state != "resolved" && told.elapsed() >= STORY) {
                told = Instant::now();
                screen.story(&case.fleet.story(&incident.id), case.at);
            }
            outcome.detected_ms = Some(incident.opened_at.saturating_sub(case.at));
            outcome.incident = Some(incident.id);
            outcome.healed = incident.state == "resolved" && incident.playbook.is_some();
            outcome.playbook = incident.playbook;
        }
        let looked = case.begun.elapsed();
        let instances = case.fleet.instances()?;
        screen.fleet(&instances, case.begun.elapsed());
        let now = one_of(&instances, id)?;
        if restored(case, &now, looks) {
            good += 1;
            if first_good.is_none() {
                first_good = Some(millis(looked));
                screen.note(&format!("seen from outside: {}", answering(&now)), looked);
            }
        } else {
            good = 0;
            first_good = None;
        }
        outcome.restored_ms = first_good;
        if good >= GOOD_LOOKS && outcome.healed {
            outcome.healed_ms = Some(millis(case.begun.elapsed()));
            return Ok(outcome);
        }
        screen.rest(LOOK)?;
    }
    // Grace's word alone heals nothing.
    outcome.healed = false;
    Ok(outcome)
}

fn answering(now: &Instance) -> String {
    format!(
        "{} runs as pid {} and answers on port {}",
        now.id, now.pid, now.port
    )
}

/// One look of the judge's.
fn restored(case: &Case<'_>, now: &Instance, number: u64) -> bool {
    if now.pid == 0 || !judge::runs(now.pid) || !judge::answers(now.port, number) {
        return false;
    }
    match case.fault {
        Fault::Crash | Fault::Hang => now.pid != case.before.pid,
        // Exactly one restart: the effect of the interrupted action was not repeated.
        Fault::HealerKilled => {
            now.pid != case.before.pid && now.generation == case.before.generation + 1
        }
        Fault::ConfigCorrupt => {
            judge::holds(&case.fleet.config_file(&case.before.id), CONFIG.as_bytes())
        }
    }
}

/// Stops the instance, and kills the healer after it journalled the start of the restart and
/// before it can have the receipt: the supervisor, who would send it, is stopped meanwhile.
fn kill_healer_midway(
    fleet: &Fleet,
    before: &Instance,
    patience: Duration,
    screen: &mut Screen,
) -> Result<bool> {
    let healer = fleet.process("healer")?;
    let supervisor = fleet.process("supervisor")?;
    // The keeper replaces a supervisor that stands still for long; it must not be in time here.
    let keeper = fleet.process("keeper")?;
    let at = now_ms();
    strike(keeper, Signal::Stop)?;
    strike(supervisor, Signal::Stop)?;
    let begun = Instant::now();
    let done = (|| {
        strike(before.pid, Signal::Stop)?;
        while begun.elapsed() < patience {
            let incident = newest(fleet.incidents(), &before.id, at);
            let story = incident
                .map(|incident| fleet.story(&incident.id))
                .unwrap_or_default();
            screen.story(&story, at);
            if story.last().is_some_and(|entry| {
                entry.kind == "step-started" && entry.body["action"] == "fleet.restart"
            }) {
                return strike(healer, Signal::Kill).map(|()| true);
            }
            screen.rest(Duration::from_millis(10))?;
        }
        Ok(false)
    })();
    // Whatever happened, both go on; also after an interruption.
    for pid in [supervisor, keeper] {
        if judge::exists(pid) {
            strike(pid, Signal::Continue)?;
        }
    }
    let killed = done?;
    if killed {
        screen.note(
            &format!("the healer (pid {healer}) is killed in the middle of the restart"),
            begun.elapsed(),
        );
    } else {
        screen.note(
            "no restart was begun, so there was no moment to kill the healer in",
            begun.elapsed(),
        );
    }
    Ok(killed)
}

/// One of several by its name.
pub fn one_of(instances: &[Instance], id: &str) -> Result<Instance> {
    let found = instances.iter().find(|instance| instance.id == id);
    found.cloned().with_context(|| format!("{id} is gone"))
}

fn newest(incidents: Vec<Incident>, target: &str, since: u64) -> Option<Incident> {
    incidents
        .into_iter()
        .rev()
        .find(|incident| incident.target == target && incident.opened_at + 5 >= since)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

#[cfg(test)]
mod tests;
