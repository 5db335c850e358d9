//! Grace's own processes: each is killed, and comes back as another.

use anyhow::Result;
use grace_demo::client;
use grace_demo::judge;
use grace_demo::strike::strike;
use grace_os::Signal;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, shop};
use crate::stage::Stage;

/// One after another. In the control the two that restart others stand still.
pub fn restart(stage: &Stage, variant: Variant) -> Result<Seen> {
    let fleet = Fleet::start(stage, &shop(stage, "instances = 2", true, ""))?;
    let front = fleet.front()?;
    let mut seen = Seen::new();
    if !variant.whole() {
        let healer = part(stage, &fleet, "healer")?;
        let watchers = [
            part(stage, &fleet, "keeper")?,
            part(stage, &fleet, "supervisor")?,
        ];
        for pid in watchers {
            strike(pid, Signal::Stop)?;
        }
        strike(healer, Signal::Kill)?;
        // The supervisor cannot be asked now: whether the API answers is seen at its socket.
        let back = stage.until(|| fleet.ask(&["kernels"]).is_ok());
        for pid in watchers {
            strike(pid, Signal::Continue)?;
        }
        let told = format!("the healer answers again after kill -9 of pid {healer}");
        seen.look(back?.is_some(), told);
        return Ok(seen);
    }
    for name in ["healer", "proxy", "supervisor", "keeper"] {
        let old = part(stage, &fleet, name)?;
        let instances: Vec<u32> = fleet.instances()?.iter().map(|one| one.pid).collect();
        strike(old, Signal::Kill)?;
        let mut new = 0;
        let took = stage.until(|| {
            new = fleet.part(name).unwrap_or(0);
            new != 0 && new != old && judge::runs(new) && !judge::runs(old)
        })?;
        seen.look(
            took.is_some(),
            format!("{name}: pid {old} was killed, pid {new} runs"),
        );
        let served = stage.until(|| {
            client::get(front, "/hello", client::LIMIT).is_some_and(|answer| answer.status == 200)
        })?;
        seen.look(
            served.is_some(),
            format!("requests are served after it ({name})"),
        );
        seen.look(
            instances.iter().all(|pid| judge::runs(*pid)),
            format!("the instances live on ({name})"),
        );
    }
    let healer = stage.until(|| fleet.ask(&["kernels"]).is_ok())?;
    seen.look(healer.is_some(), "the API answers");
    Ok(seen)
}

fn part(stage: &Stage, fleet: &Fleet, name: &str) -> Result<u32> {
    stage.need(&format!("the {name}"), || fleet.part(name))
}
