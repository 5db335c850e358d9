//! How long the parts took, and how long all of them may take.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::build::clock;
use crate::command::target;

/// What a run may take when nothing is built yet, on two cores.
const COLD: Duration = Duration::from_secs(45 * 60);
/// What it may take when everything is built.
const WARM: Duration = Duration::from_secs(30 * 60);
/// The budgets are meant for this many cores; a machine with fewer is not judged.
const CORES: usize = 2;

/// What to say of a run that took too long.
pub fn over(cold: bool, took: Duration, cores: usize) -> Option<String> {
    let (budget, state) = if cold { (COLD, "cold") } else { (WARM, "warm") };
    (took > budget && cores >= CORES).then(|| {
        format!(
            "{} is too long: {} is the limit of a {state} run on {CORES} cores; \
             `cargo xtask test --list` says where it went",
            clock(took),
            clock(budget)
        )
    })
}

fn file() -> PathBuf {
    target().join("xtask-times.txt")
}

/// Seconds of each part when it last passed here.
pub fn read() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(file()).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (part, seconds) = line.split_once(' ')?;
            Some((part.to_owned(), seconds.parse().ok()?))
        })
        .collect()
}

/// Keeps them for the next `--list`.
pub fn write(times: &BTreeMap<String, u64>) -> Result<()> {
    let text: Vec<String> = times
        .iter()
        .map(|(part, seconds)| format!("{part} {seconds}\n"))
        .collect();
    Ok(fs::write(file(), text.concat())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_run_over_its_budget_is_told() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        assert_eq!(over(true, minutes(44), 2), None);
        assert_eq!(over(false, minutes(29), 2), None);
        assert!(over(true, minutes(46), 2).is_some_and(|text| text.contains("45:00")));
        assert!(over(false, minutes(31), 8).is_some_and(|text| text.contains("30:00")));
        assert_eq!(over(true, minutes(90), 1), None);
    }
}
