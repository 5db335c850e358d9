//! `grace doctor`: what this machine gives Grace, each line looked at or tried now.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use grace_model::layout::Layout;
use grace_os::{pidfd, port, process, user};
use grace_sandbox::{Home, Machine};
use serde::Serialize;
use serde_json::json;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};
use crate::space::Space;

/// What this machine gives Grace, and what that means
#[derive(Debug, Args)]
pub struct Doctor {}

/// What a look showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Good,
    /// Grace works, with less.
    Less,
    /// Grace cannot work.
    Bad,
    /// A fact, neither good nor bad.
    Fact,
}

/// One look.
#[derive(Debug, Serialize)]
struct Look {
    what: String,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    means: String,
}

impl Look {
    fn new(what: &'static str, verdict: Verdict, found: impl Into<String>, means: &str) -> Self {
        Self {
            what: what.to_owned(),
            verdict,
            found: found.into(),
            means: means.to_owned(),
        }
    }
}

impl Doctor {
    /// Shows it. 1 when Grace cannot work here.
    pub fn run(self, globals: &Globals) -> Outcome {
        let mut looks = vec![kernel(), who(), handles()];
        looks.extend(isolation());
        looks.extend(limits());
        looks.push(ports());
        // Without a host's directory there is nothing to say about it.
        if let Ok(layout) = globals.layout() {
            looks.extend(state(&layout));
        }
        let bad = looks.iter().any(|look| look.verdict == Verdict::Bad);
        let looks = &looks;
        show::either(
            globals.json,
            &json!({ "good": !bad, "checks": looks }),
            || {
                let mut table = Table::new(["WHAT", "", "FOUND", "WHICH MEANS"], "");
                for look in looks {
                    let word = match look.verdict {
                        Verdict::Good => show::paint(show::GOOD, "good"),
                        Verdict::Less => show::paint(show::BUSY, "less"),
                        Verdict::Bad => show::paint(show::BAD, "bad"),
                        Verdict::Fact => String::new(),
                    };
                    table.row([
                        look.what.clone(),
                        word,
                        look.found.clone(),
                        look.means.clone(),
                    ]);
                }
                table
            },
        )?;
        Ok(ExitCode::from(u8::from(bad)))
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn kernel() -> Look {
    match read("/proc/sys/kernel/osrelease") {
        Some(release) => Look::new("kernel", Verdict::Fact, format!("Linux {release}"), ""),
        None => Look::new(
            "kernel",
            Verdict::Bad,
            "/proc is not mounted",
            "mount it: mount -t proc proc /proc",
        ),
    }
}

fn who() -> Look {
    let name = user::name_of(user::effective_uid());
    let means = if user::is_root() {
        "services without `user` run as nobody, or as root when nobody cannot reach their files"
    } else {
        "services run as this user; `user` is not available"
    };
    Look::new("user", Verdict::Fact, name, means)
}

/// Opens one on this very process.
fn handles() -> Look {
    let opened = pidfd::open(std::process::id()).and_then(|handle| pidfd::is_dead(&handle));
    match opened {
        Ok(false) => Look::new(
            "pidfd",
            Verdict::Good,
            "works",
            "deaths are noticed at once",
        ),
        Ok(true) => Look::new(
            "pidfd",
            Verdict::Bad,
            "says that this process is dead",
            "use another kernel",
        ),
        Err(error) => Look::new(
            "pidfd",
            Verdict::Bad,
            error.to_string(),
            "Grace needs Linux 5.3 or later",
        ),
    }
}

/// Every primitive of isolation, each tried now. Where a service asks for one that is missing, it
/// is not started.
fn isolation() -> Vec<Look> {
    let name = format!("doctor-{}", std::process::id());
    let home = Home::open(&name, None);
    let found = Machine::new().primitives(&home);
    home.close();
    found
        .into_iter()
        .map(|one| {
            let verdict = if one.given {
                Verdict::Good
            } else {
                Verdict::Less
            };
            Look {
                what: one.name,
                verdict,
                found: one.found,
                means: one.means,
            }
        })
        .collect()
}

fn limits() -> Vec<Look> {
    const FEW_FILES: u64 = 4_096;
    let text = read("/proc/self/limits").unwrap_or_default();
    let soft = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.get(name.len()..)?
            .split_whitespace()
            .next()
            .map(str::to_owned)
    };
    let mut looks = Vec::new();
    if let Some(files) = soft("Max open files") {
        let few = files.parse::<u64>().is_ok_and(|count| count < FEW_FILES);
        let (verdict, means) = if few {
            (
                Verdict::Less,
                "each connection takes two: raise it with ulimit -n",
            )
        } else {
            (Verdict::Good, "")
        };
        looks.push(Look::new("open files", verdict, files, means));
    }
    if let Some(processes) = soft("Max processes") {
        looks.push(Look::new("processes", Verdict::Fact, processes, ""));
    }
    looks
}

fn ports() -> Look {
    let range = port::instance_range();
    let ephemeral = port::ephemeral();
    let found = format!(
        "{} to {}; ephemeral are {} to {}",
        range.start(),
        range.end(),
        ephemeral.start(),
        ephemeral.end()
    );
    let free = range.clone().take(1_000).any(port::is_free);
    if free {
        Look::new("instance ports", Verdict::Good, found, "")
    } else {
        Look::new(
            "instance ports",
            Verdict::Bad,
            found,
            "none of the first thousand is free",
        )
    }
}

fn room(root: &Path) -> Look {
    const WHAT: &str = "space for state";
    let space = match Space::look(root) {
        Ok(space) => space,
        Err(error) => return Look::new(WHAT, Verdict::Bad, error.to_string(), ""),
    };
    if let Some(full) = space.trouble() {
        return Look::new(WHAT, Verdict::Bad, full.what, &full.remedy);
    }
    let found = format!("{} MiB", space.bytes() >> 20);
    if space.is_little() {
        let means = "free some space: a full disk stops the ledger";
        return Look::new(WHAT, Verdict::Less, found, means);
    }
    Look::new(WHAT, Verdict::Good, found, "")
}

fn state(layout: &Layout) -> Vec<Look> {
    let root = layout.root();
    let mut looks = vec![Look::new(
        "state",
        Verdict::Fact,
        root.display().to_string(),
        "",
    )];
    looks.push(room(root));
    let compiled: Vec<u64> = fs::read_dir(layout.compiled())
        .map(|all| {
            all.flatten()
                .filter_map(|one| one.metadata().ok())
                .map(|one| one.len())
                .collect()
        })
        .unwrap_or_default();
    looks.push(Look::new(
        "compiled plugins",
        Verdict::Fact,
        format!(
            "{} files, {} KiB",
            compiled.len(),
            compiled.iter().sum::<u64>() >> 10
        ),
        "",
    ));
    let alive = crate::supervisor::Alive::look(layout);
    let host = match (alive.keeper, alive.supervisor) {
        (Some(keeper), Some(supervisor)) => format!("up: keeper {keeper}, supervisor {supervisor}"),
        (None, None) => "not up".to_owned(),
        _ => "half up: one of keeper and supervisor is being restarted".to_owned(),
    };
    looks.push(Look::new("host", Verdict::Fact, host, ""));
    looks.push(Look::new(
        "this boot",
        Verdict::Fact,
        process::boot_id(),
        "",
    ));
    looks
}
