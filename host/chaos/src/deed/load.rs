//! A process inside the control group of the instance that uses up what the instance has. Only
//! where that group is limited, so that the machine and the neighbours keep theirs.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use grace_os::cgroup::{self, Controller, Group, Version};
use grace_os::process;

use crate::deed::{Held, Lasting};
use crate::owner::Order;
use crate::record::Undo;

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Cpu,
    Memory,
    Forks,
}

/// Processes of a fork bomb at most, however many its group may have.
const FORKS: usize = 512;
/// A limit of processes above this is none that a fork bomb should try.
const MOST_PIDS: u64 = 512;
/// Nobody is left longer than this, whatever became of the owner.
const LONGEST: Duration = Duration::from_secs(600);

impl Load {
    fn word(self) -> &'static str {
        match self {
            Load::Cpu => "cpu",
            Load::Memory => "memory",
            Load::Forks => "forks",
        }
    }

    /// That the group of the instance is limited in it.
    fn limited(self, group: &Group, own: &Group, target: &str) -> Result<()> {
        let (controller, file_v1, file_v2, key) = match self {
            Load::Cpu => (Controller::Cpu, "cpu.cfs_quota_us", "cpu.max", "cpu"),
            Load::Memory => (
                Controller::Memory,
                "memory.limit_in_bytes",
                "memory.max",
                "memory",
            ),
            Load::Forks => (Controller::Pids, "pids.max", "pids.max", "pids"),
        };
        let refused = || {
            format!(
                "{target} has no control group that limits its {key}, and the fault would reach \
                 beyond it; set `limits = {{ {key} = ... }}` for its service"
            )
        };
        let place = group.place(controller).with_context(refused)?;
        // Grace's own, which may be limited too, is not the instance's.
        anyhow::ensure!(own.place(controller) != Some(place), refused());
        let file = match place.version {
            Version::V1 => file_v1,
            Version::V2 => file_v2,
        };
        let text = std::fs::read_to_string(place.dir.join(file)).with_context(refused)?;
        let limit = text
            .split_whitespace()
            .next()
            .and_then(|it| it.parse::<u64>().ok());
        let most = match self {
            Load::Forks => MOST_PIDS,
            // Version 1 writes a very large number where there is none.
            Load::Memory => 1 << 50,
            Load::Cpu => u64::MAX,
        };
        match limit {
            Some(limit) if limit <= most => Ok(()),
            _ => bail!(refused()),
        }
    }
}

/// The process, ended with all it started when this is dropped.
struct Inside(Child, Option<ChildStdin>);

impl Lasting for Inside {}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it: it waits for a word until it is in the group and written down.
pub(crate) fn start(
    load: Load,
    order: &Order,
    undo: &mut dyn FnMut(Undo) -> Result<()>,
) -> Result<Held> {
    let group = Group::existing(cgroup::of_process(order.process.pid)?);
    anyhow::ensure!(
        process::is_same(&order.process),
        "{} has another process by now",
        order.target
    );
    let own = Group::existing(cgroup::own()?);
    anyhow::ensure!(
        group.places() != own.places(),
        "{} has no control group of its own; `grace doctor` says why",
        order.target
    );
    load.limited(&group, &own, &order.target)?;
    let child = Command::new(&order.grace)
        .args(["internal", "chaos-load", load.word()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the process of the load")?;
    let mut inside = Inside(child, None);
    let pid = inside.0.id();
    let id = process::identity(pid).context("the process of the load is gone already")?;
    undo(Undo::End { process: id })?;
    group
        .take(pid)
        .context("cannot put a process into the instance's control group")?;
    let mut stdin = inside.0.stdin.take().context("no line to it")?;
    stdin.write_all(b"go\n")?;
    // Its end of the pipe tells it when the owner is gone.
    inside.1 = Some(stdin);
    Ok(Some(Box::new(inside)))
}

/// `grace internal chaos-load KIND`: waits for a word, then uses up, until its owner is gone.
#[must_use]
pub fn main(kind: &str) -> ExitCode {
    let mut word = [0_u8; 3];
    if std::io::stdin().read_exact(&mut word).is_err() {
        return ExitCode::SUCCESS;
    }
    match kind {
        "cpu" => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            for _ in 0..cores {
                std::thread::spawn(|| {
                    let mut number = 0_u64;
                    loop {
                        number = std::hint::black_box(number.wrapping_add(1));
                    }
                });
            }
        }
        "memory" => {
            std::thread::spawn(|| {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                loop {
                    kept.push(std::hint::black_box(vec![1; 1 << 20]));
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        "forks" => return forks(),
        _ => return ExitCode::from(2),
    }
    until_owner_is_gone();
    ExitCode::SUCCESS
}

fn until_owner_is_gone() {
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST);
        std::process::exit(0);
    });
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
}

/// As many processes as the group allows. Each holds the owner's pipe and ends with it.
fn forks() -> ExitCode {
    let mut children: Vec<Child> = Vec::new();
    let begun = Instant::now();
    while children.len() < FORKS && begun.elapsed() < LONGEST {
        let child = Command::new("/proc/self/exe")
            .args(["internal", "chaos-load", "sleeper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => children.push(child),
            // The limit: what ends is followed by another.
            Err(_) => break,
        }
    }
    until_owner_is_gone();
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    ExitCode::SUCCESS
}
