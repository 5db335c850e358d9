//! `grace capsule`: what was recorded of failures, shown, handed on, replayed and made smaller.
//! Whatever it shows or writes for others is redacted.

mod replay;
mod show;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use grace_capsule::{Capsule, Entry, Redactor, Store, StoreError, decode, encode};
use grace_model::config::{Config, Service};
use grace_model::layout::Layout;
use serde_json::json;

use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show as out;

/// Evidence of failures: list, show, replay, make smaller, hand on
#[derive(Debug, Args)]
pub struct CapsuleCommand {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All capsules, oldest first (this is the default)
    List,
    /// What is in one, without its secrets
    Show {
        /// Its name, or the beginning of it
        name: String,
    },
    /// Write one to a file, without its secrets
    Export {
        /// Its name, or the beginning of it
        name: String,
        /// The file, which must not exist; `-` for standard output
        file: PathBuf,
    },
    /// Take a capsule from a file
    Import {
        /// The file
        file: PathBuf,
    },
    /// Whether a capsule is whole and says what it said when it was made
    Verify {
        /// Its name, the beginning of it, or a file
        name: String,
    },
    /// Send its requests to copies of the instance, and tell whether they fail as it did
    Replay {
        /// Its name, or the beginning of it
        name: String,
        /// How many copies
        #[arg(short = 'n', long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
        times: u32,
        /// How many of them at once
        #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=16))]
        parallel: u32,
    },
    /// Find the least of it that still fails, and keep that as a capsule of its own
    Minimise {
        /// Its name, or the beginning of it
        name: String,
        /// How many copies at once
        #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=16))]
        parallel: u32,
        /// Seconds after which the smallest so far is taken
        #[arg(long, default_value = "300", value_name = "SECONDS")]
        within: u64,
    },
}

/// The host's capsules and what is needed to show or replay them.
pub struct Shelf {
    layout: Layout,
    store: Store,
    config: Option<Config>,
}

impl CapsuleCommand {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let shelf = Shelf::of(globals)?;
        match self.what.unwrap_or(What::List) {
            What::List => show::list(&shelf, globals.json),
            What::Show { name } => show::one(&shelf, &name, globals.json),
            What::Export { name, file } => export(&shelf, &name, &file, globals.json),
            What::Import { file } => import(&shelf, &file, globals.json),
            What::Verify { name } => verify(&shelf, &name, globals.json),
            What::Replay {
                name,
                times,
                parallel,
            } => replay::replay(&shelf, &name, times, parallel, globals.json),
            What::Minimise {
                name,
                parallel,
                within,
            } => replay::minimise(&shelf, &name, parallel, within, globals.json),
        }
    }
}

impl Shelf {
    fn of(globals: &Globals) -> Result<Self, Problem> {
        let layout = globals.layout()?;
        // Capsules can be shown when nothing else of a host is left.
        let text = fs::read(layout.config()).unwrap_or_default();
        Ok(Self {
            store: Store::at(layout.capsules()),
            config: serde_json::from_slice(&text).ok(),
            layout,
        })
    }

    fn load(&self, name: &str) -> Result<Entry, Problem> {
        self.store.load(name).map_err(problem)
    }

    fn service(&self, of: &Capsule) -> Option<&Service> {
        let services = self.config.iter().flat_map(|config| &config.services);
        services.into_iter().find(|it| it.name == of.service)
    }

    /// What of a capsule may be seen.
    fn view(&self, entry: &Entry) -> Result<Capsule, Problem> {
        let rules = self
            .service(&entry.capsule)
            .map(|it| it.record.redact.clone());
        let redactor = Redactor::new(&rules.unwrap_or_default())
            .map_err(|error| Problem::new(error.to_string(), "correct it in grace.toml"))?;
        Ok(redactor.capsule(&entry.capsule, &entry.id.name()))
    }
}

fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unknown { .. } | StoreError::Ambiguous { .. } => {
            Problem::no(error.to_string(), "")
        }
        StoreError::Io { .. } => Problem::new(
            error.to_string(),
            "run as the user who runs grace, and see that the disk has room",
        ),
        StoreError::Format { .. } => Problem::new(error.to_string(), ""),
    }
}

fn export(shelf: &Shelf, name: &str, file: &Path, as_json: bool) -> Outcome {
    let entry = shelf.load(name)?;
    let view = shelf.view(&entry)?;
    let (id, bytes) = encode(&view).or_problem("the capsule", "")?;
    if file == Path::new("-") {
        let written = std::io::stdout().write_all(&bytes);
        written.or_problem("standard output", "")?;
        return Ok(ExitCode::SUCCESS);
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut out| out.write_all(&bytes))
        .or_problem(
            format_args!("cannot write {}", file.display()),
            "name a file that does not exist yet, in a directory that can be written",
        )?;
    if as_json {
        out::document(&json!({ "written": file, "id": id.name(), "of": entry.id.name() }))?;
    } else {
        out::line(&format!(
            "wrote {} ({id}, without its secrets)",
            file.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn import(shelf: &Shelf, file: &Path, as_json: bool) -> Outcome {
    let bytes = fs::read(file).or_problem(file.display(), "name a file that can be read")?;
    let (id, capsule) = shelf.store.import(file, &bytes).map_err(problem)?;
    if as_json {
        out::document(&json!({ "id": id.name(), "form": capsule.form }))?;
    } else {
        out::line(&format!(
            "took {id}: {} of {}",
            capsule.kind.word(),
            capsule.instance
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A broken capsule is an answer, and it is no.
fn verify(shelf: &Shelf, name: &str, as_json: bool) -> Outcome {
    let file = Path::new(name);
    let checked = if file.is_file() {
        let bytes = fs::read(file).or_problem(file.display(), "name a file that can be read")?;
        decode(&bytes).map_err(|error| format!("{}: {error}", file.display()))
    } else {
        match shelf.store.load(name) {
            Ok(entry) => Ok((entry.id, entry.capsule)),
            Err(error @ StoreError::Format { .. }) => Err(error.to_string()),
            Err(error) => return Err(problem(error)),
        }
    };
    let (id, capsule) = checked.map_err(|why| Problem::no(why, ""))?;
    let missing = capsule
        .snapshot
        .as_ref()
        .map(|it| shelf.layout.snapshots().join(&it.id))
        .filter(|dir| !dir.is_dir());
    if as_json {
        out::document(&json!({ "id": id.name(), "whole": true, "snapshot": missing.is_none() }))?;
    } else {
        out::line(&format!("{id} is whole"));
        if let Some(dir) = missing {
            out::line(&format!("its snapshot is not here ({})", dir.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
