//! Detector `crash`: an instance's process ended and nobody wanted it to. It must not know
//! what is done about it; the reflex has usually started a new process already.

#![cfg_attr(target_family = "wasm", no_std)]

mod exit;
mod tail;
#[cfg(test)]
mod tests;

use grace_plugin_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use exit::Exit;

/// Deaths remembered of one instance; more than any sensible `repeats`.
const MAX_DEATHS: usize = 32;

/// Tails read in one batch. A full one costs half a million units of fuel, and when a whole
/// fleet dies at once it is better to report all with less than to be stopped and report none.
const MAX_TAILS: usize = 40;

/// What is remembered of every instance.
#[derive(Default, Serialize, Deserialize)]
pub struct Crash {
    instances: Targets<Deaths>,
}

#[derive(Default, Serialize, Deserialize)]
struct Deaths {
    /// When, oldest first.
    at: VecDeque<u64>,
    /// Cause of the last one.
    cause: String,
}

struct Settings {
    repeats: u64,
    window_ms: u64,
}

impl Settings {
    fn read() -> Result<Self> {
        Ok(Self {
            repeats: config::number("repeats", 3)?,
            window_ms: config::duration_ms("window", "60s")?,
        })
    }
}

impl Detector for Crash {
    fn observe(&mut self, batch: &Batch) -> Result<Vec<Finding>> {
        let settings = Settings::read()?;
        let mut findings = Vec::new();
        let mut tails = 0;
        for seen in &batch.observations {
            match seen.kind.as_str() {
                "instance.exited" if seen.flag("wanted") != Some(true) => {
                    findings.push(self.died(&settings, seen, &mut tails));
                }
                "instance.budget" => findings.push(self.given_up(seen)),
                _ => {}
            }
        }
        Ok(findings)
    }
}

impl Crash {
    /// Every death is a finding of its own: deaths are events, not states that last.
    fn died(&mut self, settings: &Settings, seen: &Observation, tails: &mut usize) -> Finding {
        let exit = Exit::read(seen.text("cause").unwrap_or("unknown"));
        let external = seen.flag("external").unwrap_or(false);
        // What a process wrote before it was killed from outside has nothing to do with it.
        let line = if external || *tails >= MAX_TAILS {
            None
        } else {
            *tails += 1;
            tail::reason(seen.text("tail").unwrap_or(""))
        };
        let cause = match &line {
            Some(line) => format!("{}: {line}", exit.class()),
            None => exit.class(),
        };

        let deaths = self.instances.touch(&seen.target, seen.at);
        deaths.at.push_back(seen.at);
        while deaths.at.len() > MAX_DEATHS
            || deaths
                .at
                .front()
                .is_some_and(|at| at.saturating_add(settings.window_ms) < seen.at)
        {
            deaths.at.pop_front();
        }
        deaths.cause.clone_from(&cause);
        let count = deaths.at.len() as u64;

        let summary = format!(
            "{} (pid {}) {} after {}{}",
            seen.target,
            seen.count("pid"),
            exit.words(),
            duration::words(seen.count("uptime_ms")),
            if count > 1 {
                format!(", death {count} in a row")
            } else {
                String::new()
            },
        );
        let mut found = finding(
            "instance-crash",
            &seen.target,
            severity(&exit, external, count >= settings.repeats),
            cause,
            summary,
        )
        .evidence("service", seen.text("service").unwrap_or(""))
        .evidence("exit", exit.text())
        .evidence("external", external)
        .evidence("generation", seen.count("generation"))
        .evidence("pid", seen.count("pid"))
        .evidence("uptime_ms", seen.count("uptime_ms"))
        .evidence("deaths", count);
        if let Some(line) = line {
            found = found.evidence("line", line);
        }
        found
    }

    /// The reflex has used up its budget: nobody starts this instance any more.
    fn given_up(&mut self, seen: &Observation) -> Finding {
        let last = self.instances.touch(&seen.target, seen.at).cause.clone();
        let last = if last.is_empty() {
            "cause unknown".to_owned()
        } else {
            last
        };
        let restarts = seen.count("restarts");
        finding(
            "instance-flapping",
            &seen.target,
            Severity::Critical,
            format!("keeps dying: {last}"),
            format!(
                "{} was restarted {restarts} times in {} and died again; it is not restarted any more",
                seen.target,
                duration::words(seen.count("window_ms")),
            ),
        )
        .evidence("service", seen.text("service").unwrap_or(""))
        .evidence("restarts", restarts)
        .evidence("window_ms", seen.count("window_ms"))
        .evidence("last", last)
    }
}

fn severity(exit: &Exit, external: bool, repeated: bool) -> Severity {
    match (exit, external, repeated) {
        (_, _, true) => Severity::Critical,
        // Nothing is known to be wrong with the program itself.
        (_, true, false) | (Exit::Code(0), _, false) => Severity::Moderate,
        _ => Severity::Major,
    }
}

export_detector!(Crash);
