//! Campaigns: faults one after another. The waves and failure cards of the system that this one
//! re-creates, as far as they can be real here, and the whole catalogue.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Options;
use crate::catalogue::{self, Fault};
use crate::host::Host;
use crate::report::Report;
use crate::run::run;

/// Faults in order.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Each with what it was called; none: the whole catalogue.
    pub faults: &'static [(&'static str, &'static str)],
}

/// All of them.
pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "waves",
        what: "the original's waves, one fault after another",
        faults: &[
            ("S01 heartbeat pause", "healer-pause"),
            ("S03 processor spike", "cpu-burn"),
            ("S04 kernel crash", "healer-kill"),
        ],
    },
    Campaign {
        name: "cards",
        what: "the original's failure cards that are real here",
        faults: &[
            ("KH001 heartbeat stop", "stop"),
            ("KH002 kernel crash", "healer-kill"),
            ("SD001 response field removed", "http-schema"),
            ("RE001 processor", "cpu-burn"),
            ("RE002 memory", "memory-leak"),
            ("RE003 queue flood", "flood-requests"),
            ("CF001 configuration modified", "config-rubbish"),
            ("NF001 latency", "net-latency"),
        ],
    },
    Campaign {
        name: "critical-kill",
        what: "each process of Grace, then an instance",
        faults: &[
            ("DC02 replica failover", "kill"),
            ("DC03 self-healing outage", "healer-kill"),
            ("DIRT01 critical kill: supervisor", "supervisor-kill"),
            ("DIRT01 critical kill: keeper", "keeper-kill"),
            ("DIRT01 critical kill: proxy", "proxy-kill"),
        ],
    },
    Campaign {
        name: "all",
        what: "every fault of the catalogue once",
        faults: &[],
    },
];

/// What came of a campaign.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Which.
    pub campaign: &'static str,
    /// In order.
    pub runs: Vec<Run>,
}

/// One fault of it.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What the original called it.
    pub card: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub report: Report,
}

impl Outcome {
    /// 0: all passed; 1: one failed; 3: the others passed, and some could not be induced here.
    #[must_use]
    pub fn exit(&self) -> u8 {
        let mut code = 0;
        for run in &self.runs {
            match (&run.report.not_run, run.report.passed) {
                (Some(_), _) => code = if code == 1 { 1 } else { 3 },
                (None, false) => code = 1,
                (None, true) => {}
            }
        }
        code
    }
}

/// Plays it on the instances of a service, in turn; each report is told as it comes.
///
/// # Errors
/// When the service has no instance that takes traffic, or the whole was interrupted.
pub fn campaign(
    options: &Options,
    campaign: &Campaign,
    service: &str,
    told: &mut dyn FnMut(&Report),
) -> Result<Outcome> {
    let host = Host::new(options);
    let mut outcome = Outcome {
        campaign: campaign.name,
        runs: Vec::new(),
    };
    for (turn, (card, fault)) in faults(campaign).into_iter().enumerate() {
        // Asked anew: roles may have changed hands.
        let all = host.instances()?;
        let mut active: Vec<_> = all
            .iter()
            .filter(|one| one.service == service && one.role == "active")
            .collect();
        active.sort_by(|one, other| one.id.cmp(&other.id));
        let at = turn.checked_rem(active.len()).unwrap_or(0);
        let target = active
            .get(at)
            .with_context(|| format!("service {service:?} has no active instance"))?;
        let report = match run(options, fault, &target.id) {
            Ok(report) => report,
            Err(_) if options.stop.load(std::sync::atomic::Ordering::Relaxed) => {
                anyhow::bail!("it was interrupted")
            }
            Err(error) => Report {
                fault: fault.name.to_owned(),
                target: target.id.clone(),
                not_run: Some(format!("{error:#}")),
                ..Report::default()
            },
        };
        told(&report);
        outcome.runs.push(Run { card, report });
    }
    Ok(outcome)
}

fn faults(campaign: &Campaign) -> Vec<(&'static str, &'static Fault)> {
    if campaign.faults.is_empty() {
        return catalogue::ALL.iter().map(|one| (one.name, one)).collect();
    }
    let named = campaign.faults.iter();
    named
        .filter_map(|(card, name)| Some((*card, catalogue::fault(name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_names_only_faults_that_there_are() {
        for one in CAMPAIGNS.iter().filter(|one| !one.faults.is_empty()) {
            assert_eq!(faults(one).len(), one.faults.len(), "{}", one.name);
        }
    }

    #[test]
    fn a_campaign_ends_with_1_when_one_failed_and_3_when_one_could_not_be_induced() {
        let run = |passed, not_run: Option<&str>| Run {
            card: "",
            report: Report {
                passed,
                not_run: not_run.map(str::to_owned),
                ..Report::default()
            },
        };
        let code = |runs| Outcome { campaign: "", runs }.exit();
        assert_eq!(code(vec![run(true, None)]), 0);
        assert_eq!(code(vec![run(false, Some("no")), run(true, None)]), 3);
        assert_eq!(code(vec![run(false, None), run(false, Some("no"))]), 1);
        assert_eq!(code(vec![run(false, Some("no")), run(false, None)]), 1);
    }
}
