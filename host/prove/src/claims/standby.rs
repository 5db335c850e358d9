//! Failover: the active instance is killed or stopped, and a standby serves.

use std::net::SocketAddr;

use anyhow::Result;
use grace_demo::client;
use grace_demo::judge;
use grace_demo::strike::strike;
use grace_os::Signal;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, Instance, shop};
use crate::stage::Stage;

/// Two faults one after the other; the control gives up at the first.
pub fn failover(stage: &Stage, variant: Variant) -> Result<Seen> {
    let heal = variant.whole();
    let roles = if heal {
        "active = 1\nhot = 1\nwarm = 1"
    } else {
        "active = 1"
    };
    let toml = format!(
        "[healing]\nplaybooks = {heal}\n{}",
        shop(stage, roles, heal, "")
    );
    let fleet = Fleet::start(stage, &toml)?;
    let front = fleet.front()?;
    let mut seen = Seen::new();
    for (signal, word) in [(Signal::Kill, "kill -9"), (Signal::Stop, "SIGSTOP")] {
        let old = one(stage, &fleet, "active")?;
        if heal {
            one(stage, &fleet, "hot")?;
        }
        fault(stage, &fleet, front, (signal, word), &old, &mut seen)?;
        if !seen.holds {
            break;
        }
    }
    Ok(seen)
}

fn fault(
    stage: &Stage,
    fleet: &Fleet,
    front: SocketAddr,
    (signal, word): (Signal, &str),
    old: &Instance,
    seen: &mut Seen,
) -> Result<()> {
    let standby: Vec<u32> = fleet
        .instances()?
        .iter()
        .filter(|one| one.role == "hot" && judge::runs(one.pid))
        .map(|one| one.pid)
        .collect();
    strike(old.pid, signal)?;
    let mut heir = 0;
    let mut both = false;
    let took = stage.until(|| {
        let Some(answer) = client::get(front, "/hello", client::LIMIT) else {
            return false;
        };
        if answer.status != 200 || answer.pid == old.pid {
            return false;
        }
        heir = answer.pid;
        both = judge::exists(old.pid) && judge::life(old.pid) != judge::Life::Gone;
        true
    })?;
    let Some(took) = took else {
        seen.look(
            false,
            format!("after {word} of pid {} another process answers", old.pid),
        );
        return Ok(());
    };
    seen.look(
        standby.contains(&heir),
        format!(
            "after {word} of pid {} the standby, pid {heir}, answers; {} ms",
            old.pid,
            took.as_millis()
        ),
    );
    seen.look(
        !both,
        format!("pid {} was gone when pid {heir} answered", old.pid),
    );
    let refilled = stage.until(|| {
        fleet.instances().is_ok_and(|all| {
            all.iter().any(|one| {
                one.role == "hot"
                    && one.pid != heir
                    && judge::runs(one.pid)
                    && client::ask(one.port, "/hello").is_some_and(|it| it.pid == one.pid)
            })
        })
    })?;
    seen.look(
        refilled.is_some(),
        "another standby was started and answers",
    );
    Ok(())
}

fn one(stage: &Stage, fleet: &Fleet, role: &str) -> Result<Instance> {
    stage.need(&format!("an instance that is {role} and ready"), || {
        let all = fleet.instances().ok()?;
        all.into_iter()
            .find(|one| one.role == role && one.state == "ready")
    })
}
