//! What each test ran through, and the usual measure of suspicion over it: Ochiai's, failing runs
//! of a line by the root of all failing times all runs of it (Abreu and others, 2007).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::project::Project;

/// One test, or what ran outside of all tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// The test's name; none: what ran before or between.
    pub test: Option<String>,
    /// Whether it came to its end.
    pub passed: bool,
    /// File and line of what it ran through.
    pub lines: BTreeSet<(usize, usize)>,
    /// Where it stood when it was stopped because it did not end, innermost first.
    pub stood: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct Line {
    t: Option<String>,
    ok: bool,
    hits: Vec<(String, usize)>,
    #[serde(default)]
    stood: Vec<(String, usize)>,
}

/// Reads what the tracers wrote, a document a line; what is cut or unknown is left out.
#[must_use]
pub fn parse(text: &str, project: &Project) -> Vec<Spectrum> {
    let place = |(path, line): &(String, usize)| Some((project.find(path)?, *line));
    text.lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .map(|line| Spectrum {
            test: line.t,
            passed: line.ok,
            lines: line.hits.iter().filter_map(place).collect(),
            stood: line.stood.iter().filter_map(place).collect(),
        })
        .collect()
}

/// The suspicion of each line of a file. What ran outside of tests counts as run by all.
#[must_use]
pub fn ochiai(spectra: &[Spectrum], file: usize) -> BTreeMap<usize, f64> {
    let tests: Vec<&Spectrum> = spectra.iter().filter(|one| one.test.is_some()).collect();
    let failing = tests.iter().filter(|one| !one.passed).count();
    let passing = tests.len() - failing;
    let mut found: BTreeMap<usize, f64> = BTreeMap::new();
    let outside: BTreeSet<usize> = spectra
        .iter()
        .filter(|one| one.test.is_none() || failing == 0)
        .flat_map(|one| one.lines.iter())
        .filter(|(at, _)| *at == file)
        .map(|(_, line)| *line)
        .collect();
    let all = failing.max(1) as f64 / ((failing.max(1) * (failing.max(1) + passing)) as f64).sqrt();
    for line in outside {
        // It ran, but for nobody in particular.
        found.insert(line, all * 0.6);
    }
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for one in &tests {
        for (_, line) in one.lines.iter().filter(|(at, _)| *at == file) {
            let count = counts.entry(*line).or_default();
            if one.passed {
                count.1 += 1;
            } else {
                count.0 += 1;
            }
        }
    }
    for (line, (bad, good)) in counts {
        if bad > 0 {
            let value = bad as f64 / ((failing * (bad + good)) as f64).sqrt();
            let entry = found.entry(line).or_insert(0.0);
            *entry = entry.max(value);
        }
    }
    for one in spectra {
        for (depth, (at, line)) in one.stood.iter().enumerate() {
            if *at == file {
                *found.entry(*line).or_insert(0.0) += 1.0 / (depth + 1) as f64;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: Option<&str>, passed: bool, lines: &[usize]) -> Spectrum {
        Spectrum {
            test: name.map(str::to_owned),
            passed,
            lines: lines.iter().map(|line| (0, *line)).collect(),
            stood: Vec::new(),
        }
    }

    #[test]
    fn what_only_failing_tests_run_is_most_suspicious_and_what_they_do_not_run_is_not() {
        let spectra = [
            one(None, true, &[1]),
            one(Some("a"), false, &[5, 6]),
            one(Some("b"), true, &[5, 7]),
        ];
        let found = ochiai(&spectra, 0);
        assert_eq!(found.get(&6), Some(&1.0));
        assert!(found[&5] < 1.0 && found[&5] > found[&1]);
        assert_eq!(found.get(&7), None);
        assert!(ochiai(&spectra, 1).is_empty());
    }

    #[test]
    fn what_a_tracer_wrote_is_read_and_what_is_cut_is_left_out() {
        let project = Project::new(vec![("a.py".into(), "x".into())], "");
        let text =
            "{\"t\":\"x\",\"ok\":false,\"hits\":[[\"a.py\",3],[\"gone.py\",1]]}\n{\"t\":\"y\",\"ok";
        let found = parse(text, &project);
        assert_eq!(found, [one(Some("x"), false, &[3])]);
    }
}
