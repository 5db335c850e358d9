//! The load balancer: shares, weights, and what a killed instance costs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use grace_demo::client;
use grace_demo::strike::strike;
use grace_os::Signal;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, shop};
use crate::stage::Stage;

/// Requests for shares.
const REQUESTS: u32 = 1_200;
/// How far a share may be from what it should be, in requests of `REQUESTS`: six of a hundred.
/// Whom a request goes to is drawn, and this is more than four deviations of such a draw.
const SLACK: u32 = 72;
/// Requests in flight when an instance is killed; some are on it.
const IN_FLIGHT: usize = 9;

/// How many requests each process answered well.
fn shares(front: SocketAddr) -> BTreeMap<u32, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..REQUESTS {
        if let Some(answer) = client::get(front, "/hello", client::LIMIT)
            && answer.status == 200
        {
            *shares.entry(answer.pid).or_default() += 1;
        }
    }
    shares
}

/// Equal shares, and an instance that is killed with requests on it.
pub fn balancer(stage: &Stage, variant: Variant) -> Result<Seen> {
    let toml = format!(
        "[proxy]\nretry = {}\n{}",
        variant.whole(),
        shop(stage, "instances = 3", true, "")
    );
    let fleet = Fleet::start(stage, &toml)?;
    let front = fleet.front()?;
    let pids: Vec<u32> = fleet.instances()?.iter().map(|one| one.pid).collect();
    let mut seen = Seen::new();
    let shares = shares(front);
    let third = REQUESTS / 3;
    let equal = pids.iter().all(|pid| {
        let share = shares.get(pid).copied().unwrap_or(0);
        share.abs_diff(third) <= SLACK
    });
    seen.look(
        equal && shares.len() == 3,
        format!("requests answered by pid: {shares:?}"),
    );
    let victim = *pids.first().context("there is no instance")?;
    let asking: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            std::thread::spawn(move || {
                client::get(front, "/slow?ms=400", client::LIMIT * 2).map(|answer| answer.status)
            })
        })
        .collect();
    // All are on their way, and none is answered yet.
    std::thread::sleep(Duration::from_millis(200));
    strike(victim, Signal::Kill)?;
    let statuses: Vec<Option<u16>> = asking
        .into_iter()
        .map(|thread| thread.join().unwrap_or(None))
        .collect();
    let failed = statuses.iter().filter(|it| **it != Some(200)).count();
    seen.look(
        failed == 0,
        format!("kill -9 with {IN_FLIGHT} requests in flight: {failed} failed"),
    );
    Ok(seen)
}

/// Weights as an operator sets them.
pub fn weights(stage: &Stage, variant: Variant) -> Result<Seen> {
    let fleet = Fleet::start(stage, &shop(stage, "instances = 3", true, ""))?;
    let front = fleet.front()?;
    let set = ["shop-1=7000", "shop-2=2000", "shop-3=1000"];
    let command: Vec<&str> = match variant {
        Variant::Whole => ["fleet", "weights", "shop"]
            .into_iter()
            .chain(set)
            .collect(),
        Variant::Broken => vec!["fleet", "weights", "shop", "--equal"],
    };
    fleet.ask(&command)?;
    let of = |id: &str| fleet.instance(id).map(|one| one.pid);
    let wanted = [(of("shop-1")?, 7), (of("shop-2")?, 2), (of("shop-3")?, 1)];
    let mut last = BTreeMap::new();
    // The proxy hears of it a moment later.
    let as_set = stage.until(|| {
        last = shares(front);
        wanted.iter().all(|(pid, tenths)| {
            let share = last.get(pid).copied().unwrap_or(0);
            share.abs_diff(REQUESTS * tenths / 10) <= SLACK
        })
    })?;
    let mut seen = Seen::new();
    let told: Vec<String> = wanted
        .iter()
        .map(|(pid, tenths)| {
            let share = last.get(pid).copied().unwrap_or(0);
            format!("{share} of {REQUESTS} for {tenths} tenths")
        })
        .collect();
    seen.look(as_set.is_some(), format!("answered: {}", told.join(", ")));
    Ok(seen)
}
