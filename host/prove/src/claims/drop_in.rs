//! Plugins: a component that works when it is dropped in, and one that runs away.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use grace_demo::client;
use grace_demo::judge;
use grace_demo::strike::strike;
use grace_os::Signal;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, room, shop};
use crate::stage::Stage;

/// The component's manifest; its setting says what it does.
fn manifest(mode: &str) -> String {
    format!(
        "api = \"0.1\"\nworld = \"detector\"\nsummary = \"Of grace prove: mode {mode}\"\n\
         wants = [\"metrics:read\"]\n\n[config]\nmode = \"{mode}\"\n"
    )
}

/// Writes a line into a file for the finding that the component makes.
const HEARD: &str = "\
id: heard
version: 1
description: Say that the finding of the dropped-in component came.
triggers: [{ finding: echo }]
cooldown: 1s
steps:
  - id: tell
    action: notify.send
    params: { channel: proof, severity: minor, subject: heard, text: \"${finding.target}\" }
    timeout: 5s
    undo: none
";

/// Time over which processor time is looked at.
const WINDOW: Duration = Duration::from_millis(1_500);

fn component(stage: &Stage) -> Result<&'static [u8]> {
    stage.component.context(
        "this grace was built without the component that the proof needs; run \
         `cargo xtask plugins` and build it again",
    )
}

/// The file appears, written by what the component's finding set in motion.
pub fn drop_in(stage: &Stage, variant: Variant) -> Result<Seen> {
    let wasm = component(stage)?;
    let dir = room()?;
    for name in ["plugins", "books"] {
        fs::create_dir(dir.path().join(name))?;
    }
    fs::write(dir.path().join("books/heard.yaml"), HEARD)?;
    let grants = if variant.whole() {
        "[plugins.grants]\nguest = [\"metrics:read\"]\n"
    } else {
        ""
    };
    let toml = format!(
        "[plugins]\ndir = \"plugins\"\n{grants}[healing]\ndir = \"books\"\n\
         [notify.proof]\nfile = \"heard\"\n{}",
        shop(stage, "instances = 1", true, "")
    );
    let fleet = Fleet::start_in(stage, dir, &toml)?;
    let healer = stage.need("the healer", || fleet.part("healer"))?;
    let heard = fleet.dir().join("heard");
    anyhow::ensure!(!heard.exists(), "the proof is there before its cause");
    fs::write(fleet.dir().join("plugins/guest.toml"), manifest("echo"))?;
    fs::write(fleet.dir().join("plugins/guest.wasm"), wasm)?;
    let written = || fs::metadata(&heard).is_ok_and(|file| file.len() > 0);
    let took = stage.until(written)?;
    let mut seen = Seen::new();
    seen.look(
        took.is_some(),
        "what the dropped-in detector found was written to disk by a playbook",
    );
    seen.look(
        judge::runs(healer) && fleet.part("healer") == Some(healer),
        format!("the host was not restarted for it: the healer is still pid {healer}"),
    );
    Ok(seen)
}

/// An endless loop and endless growth inside, or a loop in a process of its own.
pub fn limits(stage: &Stage, variant: Variant) -> Result<Seen> {
    let mut seen = Seen::new();
    if !variant.whole() {
        let loose = Loose::start()?;
        let share = processor(loose.0.id())?;
        judge_idle(&mut seen, share, "the process with the loop");
        return Ok(seen);
    }
    let wasm = component(stage)?;
    let dir = room()?;
    fs::create_dir(dir.path().join("plugins"))?;
    let toml = format!(
        "[plugins]\ndir = \"plugins\"\nstrikes = 3\n[plugins.grants]\nspin = [\"metrics:read\"]\n\
         grow = [\"metrics:read\"]\n{}",
        shop(stage, "instances = 2", true, "")
    );
    let fleet = Fleet::start_in(stage, dir, &toml)?;
    let healer = stage.need("the healer", || fleet.part("healer"))?;
    let before = memory(healer)?;
    for mode in ["spin", "grow"] {
        let at = fleet.dir().join("plugins");
        fs::write(at.join(format!("{mode}.toml")), manifest(mode))?;
        fs::write(at.join(format!("{mode}.wasm")), wasm)?;
    }
    let out = stage.until(|| {
        fleet.ask(&["plugin", "list"]).is_ok_and(|list| {
            let state = |name: &str| {
                let mut all = list["plugins"].as_array().into_iter().flatten();
                let one = all.find(|one| one["name"] == name);
                one.is_some_and(|one| one["state"] == "disabled" || one["state"] == "refused")
            };
            state("spin") && state("grow")
        })
    })?;
    seen.look(out.is_some(), "both were stopped and taken out");
    let share = processor(healer)?;
    judge_idle(&mut seen, share, "the healer that ran them");
    let grown = memory(healer)?.saturating_sub(before) / 1_024;
    seen.look(
        grown < 256,
        format!("the healer's memory grew by {grown} MiB"),
    );
    let hung = fleet.instance("shop-1")?;
    strike(hung.pid, Signal::Stop)?;
    let healed = stage.until(|| {
        fleet.instance("shop-1").is_ok_and(|one| {
            one.pid != hung.pid
                && judge::runs(one.pid)
                && client::ask(one.port, "/hello").is_some_and(|it| it.pid == one.pid)
        })
    })?;
    seen.look(healed.is_some(), "a hung instance is healed afterwards");
    seen.look(
        judge::runs(healer),
        format!("the healer is the process it was, pid {healer}"),
    );
    Ok(seen)
}

fn judge_idle(seen: &mut Seen, percent: u64, who: &str) {
    seen.look(
        percent < 50,
        format!("{who} uses {percent} % of a processor"),
    );
}

/// A loop that nobody limits, ended with its scope.
struct Loose(Child);

impl Loose {
    fn start() -> Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .map(Self)
            .context("cannot run /bin/sh")
    }
}

impl Drop for Loose {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which part of the time its busiest thread ran or waited for a processor, in percent. Waiting
/// counts, because on a busy machine a loop only gets its turn.
fn processor(pid: u32) -> Result<u64> {
    let (begun, before) = (Instant::now(), threads(pid)?);
    std::thread::sleep(WINDOW);
    let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let after = threads(pid)?;
    let busiest = after
        .iter()
        .map(|(thread, used)| used.saturating_sub(before.get(thread).copied().unwrap_or(*used)))
        .max();
    Ok(busiest.unwrap_or(0) * 100 / nanos.max(1))
}

/// Nanoseconds that each thread ran or waited to.
fn threads(pid: u32) -> Result<BTreeMap<OsString, u64>> {
    let mut all = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let times = text.split_whitespace().take(2);
        let used = times.filter_map(|it| it.parse::<u64>().ok()).sum();
        all.insert(task.file_name(), used);
    }
    Ok(all)
}

/// Resident memory in KiB.
fn memory(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .context("the kernel does not tell its memory")
}
