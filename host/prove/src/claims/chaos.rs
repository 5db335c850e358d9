//! Faults on purpose: a run that passes where Grace heals, and fails where it does not.

use std::time::Duration;

use anyhow::Result;
use grace_demo::{client, judge};
use serde_json::Value;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, shop};
use crate::stage::Stage;

/// A fault with an owner of its own; in the control the same with healing off.
pub fn chaos(stage: &Stage, variant: Variant) -> Result<Seen> {
    let heal = variant.whole();
    let toml = format!(
        "[healing]\nplaybooks = {heal}\n{}",
        shop(stage, "instances = 3", heal, "chaos = true")
    );
    let fleet = Fleet::start(stage, &toml)?;
    let old = fleet.instance("shop-1")?;
    let patience = stage.patience().as_secs().max(1).to_string();
    let args = ["chaos", "run", "stop", "shop-1", "--patience", &patience];
    let run = fleet.run(&args)?;
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
    // It waits by itself; how long it had to is told for the patience of the control.
    if let Some(healed) = report["heal_ms"].as_u64() {
        stage.waited(Duration::from_millis(healed));
    }
    let induced = matches!(run.status.code(), Some(0 | 1));
    anyhow::ensure!(
        induced,
        "the fault was not induced: {}",
        String::from_utf8_lossy(&run.stderr).trim()
    );
    let mut seen = Seen::new();
    seen.look(
        run.status.success() && report["passed"] == true,
        format!(
            "the run of the fault passes: detected after {} ms, healed after {} ms, {} requests failed",
            report["detect_ms"], report["heal_ms"], report["requests"]["failed"]
        ),
    );
    let now = fleet.instance("shop-1")?;
    let answers = client::ask(now.port, "/hello").is_some_and(|it| it.pid == now.pid);
    seen.look(
        now.pid != old.pid && !judge::exists(old.pid) && answers,
        format!(
            "pid {} was stopped and is gone, and pid {} answers",
            old.pid, now.pid
        ),
    );
    let left = std::fs::read_dir(fleet.dir().join("state/run/chaos"));
    let left = left.into_iter().flatten().count();
    seen.look(left == 0, format!("{left} files of the fault are left"));
    Ok(seen)
}
