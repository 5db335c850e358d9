//! `grace chaos`: faults on purpose, one or a campaign of them.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use grace_chaos::{Fault, Options, Sweep};
use grace_model::layout::Layout;
use serde_json::{Value, json};

use super::demo;
use crate::place::Globals;
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show::{self, Table};

/// Induce faults on purpose, and see what comes of them
#[derive(Debug, Args)]
pub struct Chaos {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The faults and campaigns that there are
    List,
    /// Induce one fault on an instance, whose service has `chaos = true`, and judge what comes of it
    Run {
        /// Which fault
        fault: String,
        /// On which instance, as SERVICE-N; faults of Grace's own processes need none
        #[arg(default_value = "")]
        instance: String,
        #[command(flatten)]
        how: How,
    },
    /// Kill the process that a kernel of Grace runs in
    KillKernel {
        /// Which, as `grace kernels` names it
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Several faults, one after another, on the instances of a service
    Campaign {
        /// Which campaign
        name: String,
        /// On which service
        service: String,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct How {
    /// Seconds that a fault lasts, at most 600 [default: by the fault]
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=600))]
    lasts: Option<u64>,
    /// Seconds that detection and healing are waited for, each
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// What clients ask for meanwhile [default: what readiness is probed by]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

impl How {
    fn options(self, globals: &Globals) -> Result<Options, Problem> {
        let layout = globals.layout()?;
        Ok(Options {
            grace: std::env::current_exe().or_problem("cannot find this program's file", "")?,
            state: layout.root().to_owned(),
            lasts: self.lasts.map(Duration::from_secs),
            patience: Duration::from_secs(self.patience),
            path: self.path,
            stop: demo::interrupted()?,
        })
    }
}

impl Chaos {
    /// Does it. 1 when something that was asserted was not so.
    pub fn run(self, globals: &Globals) -> Outcome {
        match self.what {
            What::List => list(globals),
            What::Run {
                fault,
                instance,
                how,
            } => one(globals, known(&fault)?, &instance, how),
            What::KillKernel { name, how } => {
                let process = process_of(globals, &name)?;
                one(globals, known(&format!("{process}-kill"))?, "", how)
            }
            What::Campaign { name, service, how } => campaign(globals, &name, &service, how),
        }
    }
}

fn one(globals: &Globals, fault: &'static Fault, instance: &str, how: How) -> Outcome {
    let options = how.options(globals)?;
    let report = grace_chaos::run(&options, fault, instance).map_err(|error| {
        Problem::new(
            format!("{} was not induced: {error:#}", fault.name),
            "`grace chaos list` says what each fault needs",
        )
    })?;
    if globals.json {
        show::document(&report)?;
    } else {
        show::line(report.text().trim_end());
    }
    Ok(ExitCode::from(u8::from(!report.passed)))
}

fn campaign(globals: &Globals, name: &str, service: &str, how: How) -> Outcome {
    let all = grace_chaos::CAMPAIGNS;
    let Some(found) = all.iter().find(|one| one.name == name) else {
        let names: Vec<&str> = all.iter().map(|one| one.name).collect();
        return Err(Problem::new(
            format!("there is no campaign {name:?}"),
            format!("there are: {}", names.join(", ")),
        ));
    };
    let options = how.options(globals)?;
    let outcome = grace_chaos::campaign(&options, found, service, &mut |report| {
        if !globals.json {
            show::line(report.text().trim_end());
        }
    })
    .map_err(|error| Problem::new(format!("{error:#}"), ""))?;
    if globals.json {
        show::document(&outcome)?;
    }
    Ok(ExitCode::from(outcome.exit()))
}

fn list(globals: &Globals) -> Outcome {
    let faults: Vec<Value> = grace_chaos::ALL
        .iter()
        .map(|one| {
            json!({
                "name": one.name, "family": one.family, "what": one.what, "expect": one.expect,
                "spares_requests": one.spares, "lasts_ms": one.lasts_ms,
            })
        })
        .collect();
    let campaigns: Vec<Value> = grace_chaos::CAMPAIGNS
        .iter()
        .map(|one| json!({ "name": one.name, "what": one.what }))
        .collect();
    let document = json!({ "faults": faults, "campaigns": campaigns });
    show::either(globals.json, &document, || {
        let mut table = Table::new(["FAULT", "OF", "GRACE", "WHAT IS DONE"], "no fault");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for one in &faults {
            let row = ["name", "family", "expect", "what"].map(|key| word(&one[key]));
            table.row(row);
        }
        for one in &campaigns {
            let row = [word(&one["name"]), "campaign".to_owned(), String::new()];
            let [name, kind, none] = row;
            table.row([name, kind, none, word(&one["what"])]);
        }
        table
    })
}

fn known(name: &str) -> Result<&'static Fault, Problem> {
    grace_chaos::fault(name).ok_or_else(|| {
        Problem::new(
            format!("there is no fault {name:?}"),
            "`grace chaos list` names them",
        )
    })
}

/// In which process a kernel runs.
fn process_of(globals: &Globals, kernel: &str) -> Result<String, Problem> {
    let answer: Value = globals.api()?.get("/v1/kernels")?;
    let all = answer.get("kernels").and_then(serde_json::Value::as_array);
    let all = all.cloned().unwrap_or_default();
    let found = all.iter().find(|one| one["name"] == kernel);
    if let Some(process) = found.and_then(|one| one["process"].as_str()) {
        return Ok(process.to_owned());
    }
    let names: Vec<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
    Err(Problem::no(
        format!("there is no kernel {kernel:?}"),
        format!("there are: {}", names.join(", ")),
    ))
}

/// Undoes what faults left whose owners are dead, or all of it. Told, and never in the way.
pub fn undo(layout: &Layout, whose: Sweep) {
    let (undone, failed) = grace_chaos::sweep(layout, whose);
    for one in undone {
        show::note(&format!(
            "note: the fault {one} was left behind and is undone"
        ));
    }
    for one in failed {
        show::note(&format!(
            "note: a fault was left behind and is not undone: {one}"
        ));
    }
}
