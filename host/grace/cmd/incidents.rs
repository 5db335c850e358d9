//! `grace incidents`: the list, one story, or everything as it happens.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use grace_api::client::{Client, ClientError};
use grace_model::incident::Incident;
use grace_model::port::Story;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::place::Globals;
use crate::problem::Outcome;
use crate::show::{self, Table};
use crate::supervisor::Alive;

/// What went wrong and what was done about it
#[derive(Debug, Args)]
pub struct Incidents {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All incidents, oldest first (this is the default)
    List {
        /// Only those that are not over
        #[arg(long)]
        open: bool,
    },
    /// Everything that was written about one
    Show {
        /// Such as inc-7
        id: String,
    },
    /// A line for every change, until interrupted
    Watch,
}

/// The API's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    incidents: Vec<Incident>,
}

impl Incidents {
    /// Shows them.
    pub fn run(self, globals: &Globals) -> Outcome {
        let api = globals.api()?;
        match self.what.unwrap_or(What::List { open: false }) {
            What::List { open } => {
                let mut answer: Answer = api.get("/v1/incidents")?;
                answer.incidents.retain(|one| !open || !one.state.at_rest());
                show::either(globals.json, &answer, || table(&answer.incidents))
            }
            What::Show { id } => {
                let story: Story = api.get(&format!("/v1/incidents/{}", segment(&id)))?;
                if globals.json {
                    show::document(&story)?;
                } else {
                    show::story(&story).iter().for_each(|line| show::line(line));
                }
                Ok(ExitCode::SUCCESS)
            }
            What::Watch => {
                let layout = globals.layout()?;
                let json = globals.json;
                watch(
                    &api,
                    &mut |incident, value| {
                        if json {
                            show::line(&value.to_string());
                        } else {
                            show::line(&show::incident_line(incident));
                        }
                        ControlFlow::Continue(())
                    },
                    &|| Alive::look(&layout).any(),
                )?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// A text as one segment of a path.
pub fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn table(incidents: &[Incident]) -> Table {
    let mut table = Table::new(
        [
            "INCIDENT", "STATE", "TARGET", "FINDING", "PLAYBOOK", "OPENED", "TOOK", "SEEN",
        ],
        "no incident",
    );
    for one in incidents {
        let took = one
            .resolved_at
            .map(|at| show::age(at.saturating_sub(one.opened_at)));
        table.row([
            one.id.to_string(),
            show::paint(show::incident_style(one.state), one.state.word()),
            one.target.clone(),
            one.finding.kind.clone(),
            one.playbook
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
            show::moment(one.opened_at),
            took.unwrap_or_else(|| "-".to_owned()),
            one.findings.to_string(),
        ]);
    }
    table
}

/// Calls `on` for every change, through deaths of the healer, until it breaks or `alive` says
/// that the host is gone.
pub fn watch(
    api: &Client,
    on: &mut dyn FnMut(&Incident, &Value) -> ControlFlow<()>,
    alive: &dyn Fn() -> bool,
) -> Result<(), ClientError> {
    const PAUSE: Duration = Duration::from_millis(100);
    // The number of the last change that was told: a new healer goes on behind it.
    let mut last: Option<u64> = None;
    loop {
        let mut done = false;
        let path = match last {
            Some(number) => format!("/v1/incidents/watch?after={number}"),
            None => "/v1/incidents/watch".to_owned(),
        };
        let ended = api.watch(&path, &mut |number, value| {
            last = number.or(last);
            let Ok(incident) = serde_json::from_value::<Incident>(value.clone()) else {
                return ControlFlow::Continue(());
            };
            let flow = on(&incident, &value);
            done = flow.is_break();
            flow
        });
        if done || !alive() {
            return Ok(());
        }
        if let Err(error @ ClientError::Refused { .. }) = ended {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_segment() {
        assert_eq!(segment("inc-7"), "inc-7");
        assert_eq!(segment("a/../b ?x"), "a%2F..%2Fb%20%3Fx");
    }
}
