//! `grace capsule replay` and `minimise`: copies are made by this process and end with it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use grace_capsule::{Capsule, Entry, Form, Minimised, Observed, Verdict};
use grace_model::config::Service;
use grace_trial::{Copier, Copies};
use serde_json::json;

use super::{Shelf, problem};
use crate::problem::{OrProblem, Outcome, Problem};
use crate::show;

/// What a replay needs of the host.
struct Stage<'a> {
    entry: Entry,
    service: &'a Service,
    snapshot: Option<PathBuf>,
    copier: Copier,
    notes: Vec<String>,
}

/// Replays it and tells the verdict: 0 reproducible or flaky, 1 not reproduced, 2 not possible.
pub fn replay(shelf: &Shelf, name: &str, times: u32, parallel: u32, as_json: bool) -> Outcome {
    let stage = Stage::of(shelf, name)?;
    let begun = Instant::now();
    let mut copies = stage.copies(parallel)?;
    let (verdict, observed) = grace_trial::replay(&mut copies, times);
    let took_ms = ms(begun);
    if as_json {
        let exits: Vec<Option<String>> = observed
            .iter()
            .map(|it| match it {
                Observed::Ran(seen) => seen
                    .exit
                    .as_ref()
                    .map(grace_model::instance::ExitCause::text),
                Observed::NotReady { .. } => None,
            })
            .collect();
        show::document(&json!({
            "id": stage.entry.id.name(),
            "form": stage.entry.capsule.form,
            "verdict": verdict,
            "exits": exits,
            "isolation": stage.copier.isolation().unwrap_or_default(),
            "notes": stage.notes,
            "took_ms": took_ms,
        }))?;
    } else {
        stage.notes.iter().for_each(|note| show::note(note));
        show::line(&format!(
            "{}: {} ({took_ms} ms)",
            stage.entry.id,
            words(&verdict)
        ));
    }
    Ok(match verdict {
        Verdict::Reproducible { .. } | Verdict::Flaky { .. } => ExitCode::SUCCESS,
        Verdict::NotReproduced { .. } => ExitCode::from(1),
        Verdict::NotPossible { .. } => ExitCode::from(2),
    })
}

/// Makes it smaller and keeps the result.
pub fn minimise(shelf: &Shelf, name: &str, parallel: u32, within: u64, as_json: bool) -> Outcome {
    let stage = Stage::of(shelf, name)?;
    let begun = Instant::now();
    let mut copies = stage.copies(parallel)?.within(Duration::from_secs(within));
    // What does not fail has no smallest part that does.
    let (verdict, _) = grace_trial::replay(&mut copies, 1);
    match verdict {
        Verdict::Reproducible { .. } => {}
        Verdict::NotPossible { why } => return Err(not_possible(&why)),
        _ => {
            return Err(Problem::no(
                format!(
                    "{} is not reproduced, so there is nothing to make smaller",
                    stage.entry.id
                ),
                "see `grace capsule replay`: of a flaky failure minimising would find chance",
            ));
        }
    }
    let before = &stage.entry.capsule;
    let shrunk = grace_capsule::minimise(&before.requests, &mut copies);
    if let Some(why) = copies
        .problem
        .as_ref()
        .filter(|_| shrunk.requests == before.requests)
    {
        return Err(not_possible(why));
    }
    let took_ms = ms(begun);
    let small = Capsule {
        made_from: Some(stage.entry.id.name()),
        requests: shrunk.requests,
        minimised: Some(Minimised {
            runs: copies.runs,
            took_ms,
            requests_before: before.requests.len() as u64,
            complete: shrunk.complete,
        }),
        ..before.clone()
    };
    let id = shelf.store.add(&small).map_err(problem)?;
    if as_json {
        show::document(&json!({
            "id": id.name(),
            "of": stage.entry.id.name(),
            "requests_before": before.requests.len(),
            "requests": small.requests.len(),
            "runs": copies.runs,
            "took_ms": took_ms,
            "complete": shrunk.complete,
            "ended_because": copies.problem,
        }))?;
    } else {
        stage.notes.iter().for_each(|note| show::note(note));
        show::line(&format!(
            "{id}: {} of {} requests, {} runs in {took_ms} ms{}; see `grace capsule show {id}`",
            small.requests.len(),
            before.requests.len(),
            copies.runs,
            if shrunk.complete {
                ""
            } else {
                ", ended before it was done"
            },
        ));
    }
    Ok(ExitCode::SUCCESS)
}

impl<'a> Stage<'a> {
    fn of(shelf: &'a Shelf, name: &str) -> Result<Self, Problem> {
        let entry = shelf.load(name)?;
        let service = shelf.service(&entry.capsule).ok_or_else(|| {
            not_possible(&format!(
                "this host has no service {}; start one with `grace up`",
                entry.capsule.service
            ))
        })?;
        let mut notes = Vec::new();
        let config = serde_json::to_vec(service).unwrap_or_default();
        if grace_capsule::hash(&config) != entry.capsule.build.config_hash {
            notes.push("the service's configuration has changed since".to_owned());
        }
        if entry.capsule.form == Form::Redacted {
            notes
                .push("it is redacted: what is replayed is not quite what was recorded".to_owned());
        }
        let snapshot = entry.capsule.snapshot.as_ref();
        let snapshot = snapshot.map(|it| shelf.layout.snapshots().join(&it.id));
        if let Some(missing) = snapshot.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(not_possible(&format!(
                "the snapshot of its data is not here ({}); it is not part of an export, and goes with its capsule",
                missing.display()
            )));
        }
        if snapshot.is_none() {
            notes.push(
                "there is no snapshot of its data: copies begin with an empty directory".to_owned(),
            );
        }
        let exe = std::env::current_exe().or_problem("the program of `grace`", "")?;
        Ok(Self {
            entry,
            service,
            snapshot,
            copier: Copier::new(exe),
            notes,
        })
    }

    fn copies(&self, parallel: u32) -> Result<Copies<'_>, Problem> {
        let width = usize::try_from(parallel).unwrap_or(1);
        Copies::new(
            &self.copier,
            &self.entry.capsule,
            self.service,
            self.snapshot.clone(),
            width,
        )
        .map_err(|why| not_possible(&why))
    }
}

fn not_possible(why: &str) -> Problem {
    Problem::new(format!("not possible here: {why}"), "")
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Reproducible { runs } => format!("reproducible, {runs} of {runs}"),
        Verdict::Flaky { runs, reproduced } => format!("flaky, {reproduced} of {runs}"),
        Verdict::NotReproduced { runs } => format!("not reproduced, 0 of {runs}"),
        Verdict::NotPossible { why } => format!("not possible here: {why}"),
    }
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
