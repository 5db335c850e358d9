//! The report for a terminal, and the list of claims.

use std::fmt::Write;

use anyhow::Result;
use serde_json::json;

use crate::claim::Claim;
use crate::report::{Control, Report, Verdict};

/// Prints the claims without trying them.
pub fn list(claims: &[&Claim], as_json: bool) -> Result<()> {
    if as_json {
        let all: Vec<_> = claims
            .iter()
            .map(|one| {
                json!({
                    "id": one.id, "claim": one.claim, "control": one.control, "needs": one.needs
                })
            })
            .collect();
        println!("{}", serde_json::to_string(&json!({ "claims": all }))?);
        return Ok(());
    }
    let width = claims.iter().map(|one| one.id.len()).max().unwrap_or(0);
    for one in claims {
        println!("{:<width$}  {}", one.id, one.claim);
        println!("{:<width$}  control: {}", "", one.control);
    }
    Ok(())
}

/// A line a claim, below it why it is not proven, and a sum.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let width = report.claims.iter().map(|row| row.id.len()).max();
    let width = width.unwrap_or(0);
    for row in &report.claims {
        let control = row.control.map_or("control not made", |it| match it {
            Control::FailedAsItMust => "control failed as it must",
            Control::Passed => "control passed",
        });
        let _ = writeln!(
            out,
            "{:<17}  {:<width$}  {:>6.1} s  {control}\n{:<17}  {}",
            row.result.word(),
            row.id,
            row.ms as f64 / 1_000.0,
            "",
            row.claim,
        );
        if let Some(reason) = &row.reason {
            let _ = writeln!(out, "{:<17}  {reason}", "");
        }
        if row.result == Verdict::NotProven {
            for line in &row.evidence {
                let _ = writeln!(out, "{:<17}    {line}", "");
            }
        }
    }
    let _ = writeln!(out, "\n{}", sum(report));
    out
}

/// `11 proven, 0 not proven, 1 not possible here`.
pub fn sum(report: &Report) -> String {
    let count = |verdict| {
        let rows = report.claims.iter();
        rows.filter(|row| row.result == verdict).count()
    };
    format!(
        "{} proven, {} not proven, {} not possible here",
        count(Verdict::Proven),
        count(Verdict::NotProven),
        count(Verdict::NotPossibleHere)
    )
}
