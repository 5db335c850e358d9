//! `grace plugin list`: of the host that runs, else what a host here would load.

use grace_model::port::PluginHost;
use grace_model::status::{PluginState, PluginView};
use serde::{Deserialize, Serialize};

use crate::place::Globals;
use crate::problem::{Outcome, Problem};
use crate::show::{self, Table};
use crate::supervisor::Alive;
use crate::{builtin, library};

/// The API's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    plugins: Vec<PluginView>,
}

/// Shows them.
pub fn list(globals: &Globals) -> Outcome {
    let answer = Answer {
        plugins: views(globals)?,
    };
    if let Some(what) = builtin::missing(builtin::PLUGINS, answer.plugins.is_empty()) {
        show::note(&format!("note: {what}"));
    }
    show::either(globals.json, &answer, || {
        let mut table = Table::new(
            ["PLUGIN", "WORLD", "STATE", "CALLS", "FAILED", "FROM", "WHY"],
            "no plugin",
        );
        for one in &answer.plugins {
            let (word, style) = match one.state {
                PluginState::Live => ("live", show::GOOD),
                PluginState::WaitingForGrant => ("waiting-for-grant", show::BUSY),
                PluginState::Refused => ("refused", show::BAD),
                PluginState::Disabled => ("disabled", show::BAD),
            };
            table.row([
                one.name.clone(),
                one.world.clone(),
                show::paint(style, word),
                one.calls.to_string(),
                one.failures.to_string(),
                one.origin.clone(),
                one.error.clone().unwrap_or_default().replace('\n', " "),
            ]);
        }
        table
    })
}

/// All plugins, asked of the host or looked at here.
pub fn views(globals: &Globals) -> Result<Vec<PluginView>, Problem> {
    if globals
        .layout()
        .is_ok_and(|layout| Alive::look(&layout).any())
    {
        let answer: Answer = globals.api()?.get("/v1/plugins")?;
        return Ok(answer.plugins);
    }
    let config = library::config(globals)?;
    Ok(library::registry(&config)?.list())
}
