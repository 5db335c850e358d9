//! What came of the claims, as `--json` tells it.

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order of the list.
    pub claims: Vec<Row>,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// The sentence.
    pub claim: String,
    /// What came of it.
    pub result: Verdict,
    /// What the control did; none when it could not be made.
    pub control: Option<Control>,
    /// The kernel's primitive that this machine does not give, as `grace doctor` calls it.
    pub missing: Option<String>,
    /// Why it is not proven.
    pub reason: Option<String>,
    /// Milliseconds that proof and control took.
    pub ms: u64,
    /// What was seen from outside, proof first.
    pub evidence: Vec<String>,
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The proof held and the control failed.
    Proven,
    /// One of the two was not so.
    NotProven,
    /// The kernel does not give what the trial needs.
    NotPossibleHere,
}

impl Verdict {
    /// As in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Proven => "proven",
            Verdict::NotProven => "not-proven",
            Verdict::NotPossibleHere => "not-possible-here",
        }
    }
}

/// What a control did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// With the property broken the judge said no.
    FailedAsItMust,
    /// The judge says yes whatever happens, so its yes is worth nothing.
    Passed,
}

impl Control {
    /// As in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Control::FailedAsItMust => "failed-as-it-must",
            Control::Passed => "passed",
        }
    }
}

impl Report {
    /// 0: all proven; 1: some not proven; 3: some not possible here and none not proven.
    #[must_use]
    pub fn exit(&self) -> u8 {
        let any = |verdict| self.claims.iter().any(|row| row.result == verdict);
        match (any(Verdict::NotProven), any(Verdict::NotPossibleHere)) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        }
    }
}
