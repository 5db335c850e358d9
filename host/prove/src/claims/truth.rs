//! Whether Grace calls a thing healed that is not: a fault that no restart heals.

use std::fs;

use anyhow::{Context, Result};
use grace_demo::client;

use crate::claim::{Seen, Variant};
use crate::claims::healing::Traffic;
use crate::fleet::{Fleet, room, worker};
use crate::stage::Stage;

/// Restarts and believes that it helped: its check sees no more than that the process is ready.
const CREDULOUS: &str = "\
id: error-rate
version: 1
description: Restart, and see no more than that it is up.
triggers: [{ finding: error-rate }]
cooldown: 1s
steps:
  - id: tell
    action: notify.send
    params: { channel: log, severity: minor, subject: \"it errs\", text: \"it errs\" }
    timeout: 5s
    undo: none
";

/// All instances read a file that nobody declared, which is broken: they are up and answer 500.
pub fn verified(stage: &Stage, variant: Variant) -> Result<Seen> {
    let dir = room()?;
    let undeclared = dir.path().join("undeclared.json");
    fs::copy(dir.path().join("config.json"), &undeclared)?;
    let books = dir.path().join("books");
    fs::create_dir(&books)?;
    if !variant.whole() {
        fs::write(books.join("error-rate.yaml"), CREDULOUS)?;
    }
    let path = undeclared.display().to_string();
    let toml = format!(
        "[healing]\ndir = \"books\"\nquiet = \"1m\"\n[[service]]\nname = \"shop\"\ncommand = {}\n\
         listen = \"127.0.0.1:0\"\ninstances = 2\nready = {{ http = \"/healthz\" }}\n",
        worker(&stage.grace, &["--config", &path])
    );
    let fleet = Fleet::start_in(stage, dir, &toml)?;
    let front = fleet.front()?;
    let _traffic = Traffic::start(front);
    fs::write(&undeclared, "rubbish").context("cannot break the undeclared file")?;
    let mut state = String::new();
    let mut status = None;
    let told = stage.until(|| {
        status = client::get(front, "/hello", client::LIMIT).map(|answer| answer.status);
        let mut all = fleet.incidents().into_iter();
        let found = all.find(|one| one["state"] == "resolved" || one["state"] == "escalated");
        state = found
            .and_then(|one| one["state"].as_str().map(str::to_owned))
            .unwrap_or_default();
        !state.is_empty()
    })?;
    let mut seen = Seen::new();
    seen.look(
        told.is_some(),
        "the incident comes to an end, resolved or with a person called",
    );
    seen.look(
        status.is_some_and(|status| status >= 500),
        format!("clients are answered with {status:?} in that moment"),
    );
    seen.look(
        state == "escalated",
        format!("the incident is told as {state:?}, while clients see errors"),
    );
    Ok(seen)
}
