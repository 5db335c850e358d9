//! `grace plugin check` and `inspect`: a component and its manifest, without a host.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use grace_wasm::{Inspection, LoadError};
use serde_json::{Value, json};

use crate::config::closest;
use crate::library;
use crate::place::Globals;
use crate::problem::{Outcome, Problem};
use crate::show;

/// Whether a component would be accepted; 1 if not
#[derive(Debug, Args)]
pub struct Check {
    /// Components, each with its manifest beside it
    #[arg(required = true, value_name = "NAME.wasm")]
    paths: Vec<PathBuf>,
}

impl Check {
    /// Loads each as a host would, with one call, and keeps none.
    pub fn run(self, globals: &Globals) -> Outcome {
        let mut all_good = true;
        let mut documents: Vec<Value> = Vec::new();
        for path in &self.paths {
            let checked = grace_wasm::check(path);
            let error = match &checked {
                Ok(inspection) => inspection.problem.clone(),
                Err(error) => Some(error.to_string()),
            };
            all_good &= error.is_none();
            if globals.json {
                documents.push(json!({
                    "file": path,
                    "good": error.is_none(),
                    "error": error,
                    "plugin": checked.ok(),
                }));
            } else {
                match error {
                    None => show::line(&format!(
                        "{}: {}",
                        path.display(),
                        show::paint(show::GOOD, "good")
                    )),
                    Some(error) => {
                        show::line(&format!("{}: {error}", show::paint(show::BAD, "error")))
                    }
                }
            }
        }
        if globals.json {
            show::document(&json!({ "good": all_good, "plugins": documents }))?;
        }
        Ok(ExitCode::from(u8::from(!all_good)))
    }
}

/// What is in a component
#[derive(Debug, Args)]
pub struct Inspect {
    /// A component, or the name of a plugin of this host
    #[arg(value_name = "NAME")]
    what: String,
}

impl Inspect {
    /// Shows it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let path = PathBuf::from(&self.what);
        if path.is_file() {
            return inspected(globals, &path);
        }
        let config = library::config(globals)?;
        let dropped = config.plugins.dir.join(format!("{}.wasm", self.what));
        if dropped.is_file() {
            return inspected(globals, &dropped);
        }
        let views = super::list::views(globals)?;
        let Some(view) = views.iter().find(|view| view.name == self.what) else {
            let names = || views.iter().map(|view| view.name.as_str());
            let help = match closest(&self.what, names()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "name a file, or a plugin of `grace plugin list`".to_owned(),
            };
            return Err(Problem::no(
                format!("there is no plugin {:?}", self.what),
                help,
            ));
        };
        if globals.json {
            show::document(view)?;
        } else {
            field("name", &view.name);
            field("world", &view.world);
            field("from", &view.origin);
            field("hash", &view.hash);
            field("wants", &view.wants.join(" "));
            field("granted", &view.granted.join(" "));
            field("error", view.error.as_deref().unwrap_or_default());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn inspected(globals: &Globals, path: &Path) -> Outcome {
    let one: Inspection = grace_wasm::inspect(path).map_err(refused)?;
    if globals.json {
        show::document(&one)?;
        return Ok(ExitCode::SUCCESS);
    }
    field("name", &one.name);
    field("world", one.world.map_or("", |world| world.word()));
    field("summary", &one.summary);
    field("file", &one.file.display().to_string());
    field("size", &format!("{} bytes", one.size));
    field("hash", &one.hash);
    field("wants", &one.wants.join(" "));
    field("needs", &one.needs.join(" "));
    if let Some(limits) = one.limits {
        field(
            "limits",
            &format!(
                "fuel {}, memory {} KiB, {} ms, {} host calls",
                limits.fuel,
                limits.memory_bytes >> 10,
                limits.wall_ms,
                limits.host_calls
            ),
        );
    }
    field("imports", &one.imports.join("\n            "));
    field("exports", &one.exports.join("\n            "));
    field("problem", one.problem.as_deref().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

fn field(name: &str, value: &str) {
    if !value.is_empty() {
        show::line(&format!(
            "{} {value}",
            show::paint(show::BOLD, &format!("{name:<11}"))
        ));
    }
}

/// Its text names file, cause and remedy.
pub fn refused(error: LoadError) -> Problem {
    Problem::no(error.to_string(), "")
}
