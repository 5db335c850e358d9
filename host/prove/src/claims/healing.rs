//! Playbooks: faults that the reflex cannot heal, judged by answers, processes and bytes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use grace_demo::client;
use grace_demo::judge;
use grace_demo::strike::strike;
use grace_os::Signal;

use crate::claim::{Seen, Variant};
use crate::fleet::{CONFIG, Fleet, shop};
use crate::stage::Stage;

/// Rubbish for a file that should hold JSON.
const RUBBISH: &str = "{ \"greeting\": \"hel";

/// Requests from a client, as long as it lives.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    asking: Option<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(front: std::net::SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let asking = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let _ = client::get(front, "/hello", client::LIMIT);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        Self {
            stop,
            asking: Some(asking),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(asking) = self.asking.take() {
            let _ = asking.join();
        }
    }
}

fn healing(stage: &Stage, variant: Variant, instances: u32) -> Result<Fleet> {
    let heal = variant.whole();
    let toml = format!(
        "[healing]\nplaybooks = {heal}\n{}",
        shop(stage, &format!("instances = {instances}"), heal, "")
    );
    Fleet::start(stage, &toml)
}

/// Three faults at once, each on an instance of its own, and a fourth that keeps serving.
pub fn playbooks(stage: &Stage, variant: Variant) -> Result<Seen> {
    let fleet = healing(stage, variant, 4)?;
    let hung = fleet.instance("shop-1")?;
    let erring = fleet.instance("shop-2")?;
    let _traffic = Traffic::start(fleet.front()?);
    let file = fleet.data("shop-3").join("config.json");
    strike(hung.pid, Signal::Stop)?;
    client::ask(erring.port, "/break?errors=1")
        .context("shop-2 does not answer before the fault")?;
    fs::write(&file, RUBBISH)?;
    let serves = |id: &str| {
        fleet.instance(id).is_ok_and(|one| {
            judge::runs(one.pid)
                && client::ask(one.port, "/hello")
                    .is_some_and(|it| it.status == 200 && it.pid == one.pid)
        })
    };
    let mut seen = Seen::new();
    let cases = [
        ("shop-3", "configuration overwritten with rubbish"),
        ("shop-1", "SIGSTOP"),
        ("shop-2", "answers every request with 500"),
    ];
    for (id, fault) in cases {
        let took = stage.until(|| serves(id))?;
        seen.look(
            took.is_some(),
            format!("{id}, {fault}: answers 200 again by itself"),
        );
        if took.is_none() {
            break;
        }
    }
    if seen.holds {
        let replaced = [(&hung, "shop-1"), (&erring, "shop-2")];
        for (old, id) in replaced {
            let now = fleet.instance(id)?.pid;
            seen.look(
                now != old.pid && !judge::exists(old.pid),
                format!("{id} is another process: {} was {}", now, old.pid),
            );
        }
        seen.look(
            judge::holds(&file, CONFIG.as_bytes()),
            "shop-3's file holds the bytes from before",
        );
    }
    Ok(seen)
}

/// Rubbish in one file, and another deleted.
pub fn restore(stage: &Stage, variant: Variant) -> Result<Seen> {
    let fleet = healing(stage, variant, 2)?;
    let files = ["shop-1", "shop-2"].map(|id| fleet.data(id).join("config.json"));
    let [overwritten, deleted] = &files;
    for file in &files {
        let there = judge::holds(file, CONFIG.as_bytes());
        anyhow::ensure!(there, "{} is not there before the fault", file.display());
    }
    fs::write(overwritten, RUBBISH)?;
    fs::remove_file(deleted)?;
    let back = stage.until(|| {
        files
            .iter()
            .all(|file| judge::holds(file, CONFIG.as_bytes()))
    })?;
    let mut seen = Seen::new();
    for (file, fault) in [(overwritten, "overwritten"), (deleted, "deleted")] {
        seen.look(
            back.is_some() && judge::holds(file, CONFIG.as_bytes()),
            format!("the {fault} file holds its {} bytes again", CONFIG.len()),
        );
    }
    Ok(seen)
}
