//! Becoming the program that an upgrade has chosen: the same process, so that whoever started the
//! front (a terminal, systemd) keeps it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use grace_model::layout::Layout;
use grace_supervisor::program::{Chosen, Program};
use serde_json::json;

use super::Front;
use crate::show;

/// Becomes it, when every other process runs it and is well. Comes back when there is nothing to
/// become, or it cannot be; then this program goes on.
pub fn if_upgraded(front: &Front, layout: &Layout) {
    let Some(chosen) = Chosen::read(layout).filter(|chosen| chosen.settled) else {
        return;
    };
    let own = Program::of_process(std::process::id());
    if own.is_none_or(|own| own.is_same(&chosen.program)) || !chosen.program.is_there() {
        return;
    }
    let path = &chosen.program.path;
    if front.json {
        show::line(&json!({ "event": "upgraded", "program": path }).to_string());
    }
    let mut command = Command::new(path);
    command
        .args(["internal", "front", "--state"])
        .arg(layout.root());
    if front.json {
        command.arg("--json");
    }
    if front.temporary {
        command.arg("--temporary");
    }
    // The lock on the front goes with this program, and its file stays: the new one attaches.
    let error = command.exec();
    tracing::error!(%error, "{} cannot be run; this front goes on", path.display());
}
