//! What came of a fault, and of a campaign.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// One fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which.
    pub fault: String,
    /// Whose.
    pub target: String,
    /// All that was asserted holds.
    pub passed: bool,
    /// Why it could not be induced; then nothing else counts.
    pub not_run: Option<String>,
    /// From the fault to the incident, or to the process of Grace being gone.
    pub detect_ms: Option<u64>,
    /// From the fault to the first answer after which none failed any more.
    pub mitigate_ms: Option<u64>,
    /// From the fault to everything being whole, the incident resolved.
    pub heal_ms: Option<u64>,
    /// The incident.
    pub incident: Option<String>,
    /// The playbook of the incident.
    pub playbook: Option<String>,
    /// Requests of a client that tries none again.
    pub requests: Requests,
    /// What was asserted.
    pub assertions: Vec<Assertion>,
}

/// Requests of the judge's client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// All.
    pub sent: u64,
    /// Not answered 200 to 399 in time.
    pub failed: u64,
}

/// One thing that must be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// What.
    pub what: String,
    /// Whether it was.
    pub holds: bool,
}

impl Report {
    pub(crate) fn assert(&mut self, holds: bool, what: impl Into<String>) {
        self.assertions.push(Assertion {
            what: what.into(),
            holds,
        });
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let time = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        let mut out = String::new();
        if let Some(why) = &self.not_run {
            let _ = writeln!(out, "not run  {} of {}: {why}", self.fault, self.target);
            return out;
        }
        let _ = writeln!(
            out,
            "{}  {} of {}: detected {}, mitigated {}, healed {}; {} requests, {} failed",
            if self.passed { "passed " } else { "FAILED " },
            self.fault,
            self.target,
            time(self.detect_ms),
            time(self.mitigate_ms),
            time(self.heal_ms),
            self.requests.sent,
            self.requests.failed,
        );
        for one in self.assertions.iter().filter(|one| !one.holds) {
            let _ = writeln!(out, "         not so: {}", one.what);
        }
        out
    }
}
