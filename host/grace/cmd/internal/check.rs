//! Whether this program takes a host that another one runs: its state and its configuration.
//! `grace upgrade` asks the new program before it touches anything.

use std::fs;
use std::process::ExitCode;

use grace_model::config::Config;
use grace_model::layout::Layout;
use serde_json::json;

use crate::config::{self, Surroundings};
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::{mark, show, state};

/// Answers with one document: that it takes it, or why not.
pub fn run(globals: &Globals, layout: &Layout) -> Outcome {
    match takes(globals, layout) {
        Ok(()) => {
            let own = mark::Mark::own();
            show::document(&json!({
                "takes": true,
                "version": own.as_ref().map(|own| &own.version),
                "state": own.as_ref().map(|own| own.state),
            }))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problem) => {
            show::document(&json!({
                "takes": false,
                "error": problem.what(),
                "help": problem.remedy(),
            }))?;
            Ok(ExitCode::from(1))
        }
    }
}

fn takes(globals: &Globals, layout: &Layout) -> Result<(), Problem> {
    let version = layout.version();
    let text = fs::read_to_string(&version).or_problem(version.display(), "")?;
    state::known(layout, text.trim())?;
    let path = layout.config();
    let kept = fs::read(&path).or_problem(path.display(), "")?;
    serde_json::from_slice::<Config>(&kept).or_problem(
        path.display(),
        "`grace down`, then `grace up` with the new program",
    )?;
    if globals.config.is_some() {
        config::load(
            &globals.file(),
            &Surroundings::here(Some(layout.root().to_owned())),
        )?;
    }
    Ok(())
}
