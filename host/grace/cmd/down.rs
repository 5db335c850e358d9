//! `grace down`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::front::{self, Ended};
use crate::place::Globals;
use crate::problem::Outcome;
use crate::show;

/// End the instances gracefully, then Grace itself
#[derive(Debug, Args)]
pub struct Down {}

impl Down {
    /// Ends it. Nothing that runs is as good as ended.
    pub fn run(self, globals: &Globals) -> Outcome {
        let layout = globals.layout()?;
        super::chaos::undo(&layout, grace_chaos::Sweep::All);
        let ended = front::end(&layout)?;
        let text = match ended {
            Ended::Host => "the host is down".to_owned(),
            Ended::Nothing => format!("no host was up in {}", layout.root().display()),
            Ended::Remains(count) => {
                format!("the host was dead already; {count} processes of it were ended")
            }
        };
        if globals.json {
            let remains = match ended {
                Ended::Remains(count) => count,
                _ => 0,
            };
            show::document(&json!({
                "down": true,
                "was_up": ended == Ended::Host,
                "remains_ended": remains,
            }))?;
        } else {
            show::line(&text);
        }
        Ok(ExitCode::SUCCESS)
    }
}
