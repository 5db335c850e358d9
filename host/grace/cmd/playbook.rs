//! `grace playbook`: what is done about what. Listing, checking and explaining need no host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use grace_model::port::{PlaybookRun, PlaybookView};
use grace_plan::playbook::{explain, render, schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::incidents::segment;
use crate::config::closest;
use crate::library::{self, Checked};
use crate::place::Globals;
use crate::problem::{Outcome, Problem};
use crate::show::{self, Table};
use crate::supervisor::Alive;

/// What is done about what
#[derive(Debug, Args)]
pub struct Playbook {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All playbooks (this is the default)
    List,
    /// Whether playbooks are good; 1 if one is not. Without a path: all that the host would use
    Check {
        /// Files or folders
        paths: Vec<PathBuf>,
    },
    /// A playbook in plain words
    Explain {
        /// Its id, or a file
        id: String,
    },
    /// Start a playbook by hand
    Run {
        /// Its id
        id: String,
        /// For which instance or service
        #[arg(long)]
        target: String,
        /// Only say what it would do
        #[arg(long)]
        dry_run: bool,
    },
    /// The JSON schema, for editors
    Schema,
}

/// The API's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    playbooks: Vec<PlaybookView>,
}

impl Playbook {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        match self.what.unwrap_or(What::List) {
            What::List => list(globals),
            What::Check { paths } => check(globals, &paths),
            What::Explain { id } => explained(globals, &id),
            What::Run {
                id,
                target,
                dry_run,
            } => run(globals, &id, &target, dry_run),
            What::Schema => {
                let text = serde_json::to_string_pretty(&schema())
                    .map_err(|error| Problem::new(error.to_string(), ""))?;
                show::line(&text);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn list(globals: &Globals) -> Outcome {
    let up = globals
        .layout()
        .is_ok_and(|layout| Alive::look(&layout).any());
    if up {
        let answer: Answer = globals.api()?.get("/v1/playbooks")?;
        return show::either(globals.json, &answer, || {
            let mut table = Table::new(
                [
                    "PLAYBOOK",
                    "VERSION",
                    "STARTED BY",
                    "DONE",
                    "FAILED",
                    "FROM",
                    "PROBLEM",
                ],
                "no playbook",
            );
            for one in &answer.playbooks {
                table.row([
                    one.id.clone(),
                    one.version.to_string(),
                    one.triggers.join(" "),
                    one.succeeded.to_string(),
                    one.failed.to_string(),
                    one.origin.clone(),
                    one.error.as_deref().map(first_line).unwrap_or_default(),
                ]);
            }
            table
        });
    }
    let checked = checked(globals, None)?;
    let rows: Vec<Value> = checked.iter().map(row).collect();
    show::either(globals.json, &json!({ "playbooks": rows }), || {
        let mut table = Table::new(
            ["PLAYBOOK", "VERSION", "STARTED BY", "FROM", "PROBLEM"],
            "no playbook",
        );
        for row in &rows {
            let text = |key: &str| {
                row.get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let triggers = row
                .get("triggers")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let triggers: Vec<&str> = triggers.filter_map(Value::as_str).collect();
            let version = row
                .get("version")
                .map_or(String::new(), ToString::to_string);
            table.row([
                text("id"),
                version,
                triggers.join(" "),
                text("origin"),
                first_line(&text("error")),
            ]);
        }
        table
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// As the API shows it, but for the counts of runs, which only a host knows.
fn row(one: &Checked) -> Value {
    let error = one
        .diagnostics
        .iter()
        .find(|fault| fault.is_error())
        .map(ToString::to_string);
    match &one.playbook {
        Some(playbook) => json!({
            "id": playbook.id,
            "version": playbook.version,
            "description": playbook.description,
            "triggers": playbook.triggers.iter().map(|trigger| &trigger.finding).collect::<Vec<_>>(),
            "origin": one.sheet.origin,
            "error": error,
        }),
        None => json!({
            "id": one.sheet.origin.rsplit(['/', ':']).next(),
            "version": 0,
            "description": "",
            "triggers": [],
            "origin": one.sheet.origin,
            "error": error,
        }),
    }
}

/// All that the host would use, or the named ones beside those.
fn checked(globals: &Globals, paths: Option<&[PathBuf]>) -> Result<Vec<Checked>, Problem> {
    let config = library::config(globals)?;
    let actions = library::actions(&config)?;
    let own = library::sheets(&config)?;
    Ok(match paths {
        None => library::check(own, &[], &config, &actions),
        Some(paths) => library::check(library::named(paths)?, &own, &config, &actions),
    })
}

fn check(globals: &Globals, paths: &[PathBuf]) -> Outcome {
    let checked = checked(globals, Some(paths).filter(|paths| !paths.is_empty()))?;
    let good = checked.iter().all(|one| one.playbook.is_some());
    if globals.json {
        let files: Vec<Value> = checked
            .iter()
            .map(|one| {
                json!({
                    "file": one.sheet.origin,
                    "id": one.playbook.as_ref().map(|playbook| &playbook.id),
                    "good": one.playbook.is_some(),
                    "diagnostics": one.diagnostics,
                })
            })
            .collect();
        show::document(&json!({ "good": good, "playbooks": files }))?;
    } else {
        for one in &checked {
            for fault in &one.diagnostics {
                show::line(render(fault, &one.sheet.text, true).trim_end());
            }
        }
        let bad = checked.iter().filter(|one| one.playbook.is_none()).count();
        if show::person() || bad > 0 {
            show::line(&format!(
                "{} playbooks, {bad} of them not good",
                checked.len()
            ));
        }
    }
    Ok(ExitCode::from(u8::from(!good)))
}

fn explained(globals: &Globals, id: &str) -> Outcome {
    let file = PathBuf::from(id);
    let all = checked(
        globals,
        file.is_file().then_some(std::slice::from_ref(&file)),
    )?;
    let found = all.iter().find(|one| {
        one.playbook
            .as_ref()
            .is_some_and(|playbook| playbook.id.as_str() == id || file.is_file())
    });
    let Some(playbook) = found.and_then(|one| one.playbook.as_ref()) else {
        let bad = all
            .iter()
            .find(|one| file.is_file() || one.sheet.origin.contains(&format!("{id}.y")));
        if let Some(bad) = bad {
            let faults: Vec<String> = bad.diagnostics.iter().map(ToString::to_string).collect();
            return Err(Problem::no(
                faults.join("\n"),
                "correct it; `grace playbook check` shows more",
            ));
        }
        let ids = || {
            all.iter()
                .filter_map(|one| one.playbook.as_ref())
                .map(|one| one.id.as_str())
        };
        let help = match closest(id, ids()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are: {}", ids().collect::<Vec<_>>().join(", ")),
        };
        return Err(Problem::no(format!("there is no playbook {id:?}"), help));
    };
    if globals.json {
        show::document(&json!({ "playbook": playbook, "lines": explain(playbook) }))?;
    } else {
        explain(playbook).iter().for_each(|line| show::line(line));
    }
    Ok(ExitCode::SUCCESS)
}

fn run(globals: &Globals, id: &str, target: &str, dry_run: bool) -> Outcome {
    let body = json!({ "target": target, "dry_run": dry_run });
    let path = format!("/v1/playbooks/{}/run", segment(id));
    let done: PlaybookRun = globals.api()?.post(&path, &body)?;
    if globals.json {
        show::document(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    match done {
        PlaybookRun::Plan { lines } => lines.iter().for_each(|line| show::line(line)),
        PlaybookRun::Started { incident } => {
            show::line(&format!(
                "started as {incident}; `grace incidents show {incident}` tells the rest"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
