//! Processes: that six are six, and that scaling is starting and ending them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use grace_demo::client;
use grace_demo::judge;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, Instance, shop};
use crate::stage::Stage;

/// Six instances, or one under six names, as in the system that this one re-creates.
pub fn six(stage: &Stage, variant: Variant) -> Result<Seen> {
    let count = if variant.whole() { 6 } else { 1 };
    let toml = shop(stage, &format!("instances = {count}"), true, "");
    let fleet = Fleet::start(stage, &toml)?;
    let mut named = fleet.instances()?;
    if !variant.whole() {
        let only = named.first().context("there is no instance")?.clone();
        named = (1..=6)
            .map(|number| Instance {
                id: format!("shop-{number}"),
                ..only.clone()
            })
            .collect();
    }
    let mut seen = Seen::new();
    let alive = named.iter().filter(|one| judge::runs(one.pid)).count();
    seen.look(alive == 6, format!("{alive} of 6 named processes run"));
    let pids: BTreeSet<u32> = named.iter().map(|one| one.pid).collect();
    seen.look(
        pids.len() == 6,
        format!("pids in the process table: {pids:?}"),
    );
    let owned: BTreeSet<u16> = named
        .iter()
        .filter(|one| listens(one.pid, one.port))
        .map(|one| one.port)
        .collect();
    seen.look(
        owned.len() == 6,
        format!("ports whose listening socket belongs to the named process: {owned:?}"),
    );
    let answers: BTreeSet<u32> = named
        .iter()
        .filter_map(|one| client::ask(one.port, "/hello"))
        .map(|answer| answer.pid)
        .collect();
    seen.look(
        answers == pids && answers.len() == 6,
        format!("each port is answered by its own process: {answers:?}"),
    );
    let data: BTreeSet<PathBuf> = named
        .iter()
        .filter_map(|one| environ(one.pid, "GRACE_DATA"))
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir())
        .collect();
    seen.look(
        data.len() == 6,
        format!("{} data directories, each of one process", data.len()),
    );
    Ok(seen)
}

/// From two to four instances and back.
pub fn scale(stage: &Stage, variant: Variant) -> Result<Seen> {
    let fleet = Fleet::start(stage, &shop(stage, "instances = 2", true, ""))?;
    let front = fleet.front()?;
    let mut seen = Seen::new();
    for (count, word) in [(4, "4"), (2, "2")] {
        let before = fleet.instances()?;
        if variant.whole() {
            fleet.ask(&["fleet", "scale", "shop", word])?;
        }
        let took = stage.until(|| {
            let served: BTreeSet<u32> = (0..40)
                .filter_map(|_| client::get(front, "/hello", client::LIMIT))
                .filter(|answer| answer.status == 200)
                .map(|answer| answer.pid)
                .collect();
            served.len() == count && served.iter().all(|pid| judge::runs(*pid))
        })?;
        let named: BTreeSet<u32> = fleet.instances()?.iter().map(|one| one.pid).collect();
        let ended = before
            .iter()
            .filter(|one| !named.contains(&one.pid))
            .collect::<Vec<_>>();
        let gone = ended.iter().all(|one| !judge::exists(one.pid));
        seen.look(
            took.is_some() && gone,
            format!(
                "{count} processes serve through one port; {} of those before have ended",
                ended.len()
            ),
        );
        if !variant.whole() {
            break;
        }
    }
    Ok(seen)
}

/// Whether the socket that listens on this port is a descriptor of this process.
fn listens(pid: u32, port: u16) -> bool {
    let Some(inode) = listening(port) else {
        return false;
    };
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| fs::read_link(file.path()).is_ok_and(|to| to == wanted))
}

/// The inode of the IPv4 socket that listens on this port.
fn listening(port: u16) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let end = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        (local.ends_with(&end) && *state == "0A").then(|| (*inode).to_owned())
    })
}

/// A variable in the environment that a process was started with.
fn environ(pid: u32, name: &str) -> Option<String> {
    let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
    let all = String::from_utf8_lossy(&bytes).into_owned();
    all.split('\0')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_to_the_process_that_listens_and_to_no_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        assert!(listens(std::process::id(), port));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        assert!(!listens(child.id(), port));
        child.kill().expect("kill");
        child.wait().expect("wait");
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }
}
