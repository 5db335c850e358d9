//! `grace upgrade`: a running host goes on with another program, without a connection refused.

mod candidate;
mod steps;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use grace_model::layout::Layout;
use grace_os::lock::{self, LockError};
use grace_supervisor::program::Program;
use serde_json::json;

use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::{show, supervisor};

use steps::{Done, Steps};

/// Go on with another program of Grace, while everything runs
///
/// Keeper, supervisor, proxy, healer and the `grace up` in front are replaced one after another,
/// each seen to be well before the next. Instances keep their processes, and no connection is
/// refused. When the new program does not become whole, the host goes back to the one before.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// File of the Grace that is to run [default: the one that is called]
    path: Option<PathBuf>,
}

impl Upgrade {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let layout = globals.layout()?;
        let before = supervisor::status(&layout)?;
        let _lock = claim(&layout)?;
        let path = match self.path {
            Some(path) => path,
            None => {
                std::env::current_exe().or_problem("cannot find this program's file", "name it")?
            }
        };
        // The host's own file, if that is the one beside us: `grace run` needs none.
        let file = globals.file();
        let file = (file.is_file()
            && crate::config::state_of(&file).ok().as_deref() == Some(layout.root()))
        .then(|| crate::place::absolute(&file))
        .transpose()?;
        let new = candidate::check(&path, &layout, file.as_deref())?;
        let runs = before
            .processes
            .iter()
            .find(|one| one.name == "supervisor")
            .map_or(0, |one| one.pid);
        let old = candidate::keep(&layout, runs)?;
        let tell = |text: &str| {
            if !globals.json {
                show::line(text);
            }
        };
        let steps = Steps::new(&layout, before, &tell);
        if steps.is_done(&new.program) {
            return told(globals.json, &new, &old, None);
        }
        let done = steps.go(&new.program, &old)?;
        if !new.program.path.starts_with(layout.programs()) {
            // Kept only for the way back.
            let _ = fs::remove_dir_all(layout.programs());
        }
        told(globals.json, &new, &old, Some(&done))
    }
}

/// One upgrade at a time.
fn claim(layout: &Layout) -> Result<lock::Lock, Problem> {
    lock::try_lock(&layout.upgrade_lock()).map_err(|error| match error {
        LockError::Held { pid, .. } => Problem::new(
            format!(
                "an upgrade of this host is under way{}",
                pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
            ),
            "wait for its end",
        ),
        LockError::Os(error) => error.into(),
    })
}

fn told(json: bool, new: &candidate::Candidate, old: &Program, done: Option<&Done>) -> Outcome {
    let path = new.program.path.display();
    if json {
        let renewed: Vec<_> = done
            .iter()
            .flat_map(|done| &done.renewed)
            .map(|(name, pid)| json!({ "name": name, "pid": pid }))
            .collect();
        show::document(&json!({
            "outcome": if done.is_some() { "upgraded" } else { "unchanged" },
            "program": new.program.path,
            "version": new.version,
            "before": old.path,
            "renewed": renewed,
            "front": done.is_some_and(|done| done.front),
            "instances": done.map(|done| done.instances),
            "instances_kept": done.map(|done| done.kept),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match done {
        None => show::line(&format!("the host runs {path} already")),
        Some(done) => show::line(&format!(
            "{} the host runs {path} (Grace {}); {} of {} instances kept their process",
            show::paint(show::GOOD, "upgraded:"),
            new.version,
            done.kept,
            done.instances
        )),
    }
    Ok(ExitCode::SUCCESS)
}
