//! From claims to rows: proof and control of each, on as many lanes as the machine has cores for.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::Options;
use crate::claim::{Claim, Seen, Variant};
use crate::machine::Machine;
use crate::report::{Control, Report, Row, Verdict};
use crate::stage::Stage;

/// Trials at once, at most: each is a fleet with its own host.
const LANES: usize = 4;

/// Tries all of them.
///
/// # Errors
/// When the machine cannot be asked, or the whole was interrupted.
pub fn all(options: &Options, claims: &[&'static Claim]) -> Result<Report> {
    let scratch = tempfile::tempdir()
        .context("there is no directory for files; set TMPDIR to one that can be written")?;
    let machine = Machine::ask(&options.grace, scratch.path())?;
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.clamp(1, LANES).min(claims.len().max(1)) {
            scope.spawn(|| {
                while !options.stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(claim) = claims.get(at) else {
                        return;
                    };
                    let row = one(claim, &machine, &Stage::new(options));
                    if options.told {
                        eprintln!("{:<22} {}", row.id, row.result.word());
                    }
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    rows.push((at, row));
                }
            });
        }
    });
    if options.stop.load(Ordering::Relaxed) {
        bail!("it was interrupted");
    }
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(at, _)| *at);
    Ok(Report {
        claims: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// Proof, then control.
pub fn one(claim: &Claim, machine: &Machine, stage: &Stage) -> Row {
    let begun = Instant::now();
    let mut row = Row {
        id: claim.id.to_owned(),
        claim: claim.claim.to_owned(),
        result: Verdict::NotProven,
        control: None,
        missing: None,
        reason: None,
        ms: 0,
        evidence: Vec::new(),
    };
    if let Some((what, found)) = machine.missing(claim.needs) {
        row.result = Verdict::NotPossibleHere;
        row.reason = Some(format!(
            "this machine does not give {what}: {found}; `grace doctor` says how to get it"
        ));
        row.missing = Some(what);
        return row;
    }
    let proof = (claim.trial)(stage, Variant::Whole);
    let proven = match &proof {
        Ok(seen) => {
            row.evidence.extend(seen.evidence.iter().cloned());
            seen.holds
        }
        Err(_) => false,
    };
    if let Err(error) = &proof {
        row.reason = Some(format!("the proof could not be made: {error:#}"));
    } else if !proven {
        row.reason = Some("the proof failed: see what was not so".to_owned());
    }
    if proven {
        control(claim, &stage.for_control(), &mut row);
    }
    row.ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    row
}

/// The same with the property broken, which must fail.
fn control(claim: &Claim, stage: &Stage, row: &mut Row) {
    let seen = match (claim.trial)(stage, Variant::Broken) {
        Ok(seen) => seen,
        Err(error) => {
            row.reason = Some(format!("the control could not be made: {error:#}"));
            return;
        }
    };
    let Seen { holds, evidence } = seen;
    let told = evidence.into_iter().map(|line| format!("control: {line}"));
    row.evidence.push(format!("control: {}", claim.control));
    row.evidence.extend(told);
    if holds {
        row.control = Some(Control::Passed);
        row.reason = Some(format!(
            "the control passed ({}), so the proof says nothing",
            claim.control
        ));
    } else {
        row.control = Some(Control::FailedAsItMust);
        row.result = Verdict::Proven;
    }
}
