//! What comes of a repair, as it is printed. Plain data.

use serde::Serialize;

/// The outcome in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is a change that stood before the court.
    Fixed,
    /// There is none, or none that may be trusted.
    NotFixed,
    /// The search could not begin.
    Refused,
}

/// The outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// In a word.
    pub result: Verdict,
    /// Unified, for `patch -p1` in the directory; empty unless fixed.
    pub diff: String,
    /// What was wrong, or why there is no fix; one sentence or a few.
    pub cause: String,
    /// How often the command was run on a changed copy.
    pub tries: u64,
    /// From the start to the answer.
    pub seconds: f64,
    /// What the change was held against.
    pub court: Court,
}

/// What the change was held against. All zero when none was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Court {
    /// Whether deleting the code that the change touches is told from the change: by the tests,
    /// or by more differences on the neighbours.
    pub deletion_beaten: bool,
    /// Inputs near those of the tests.
    pub neighbours: Neighbours,
    /// Tests that the search did not look at.
    pub held_out: HeldOut,
}

/// Inputs near those of the tests, on which old and new program were run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// Of those on which the old program did not fail.
    pub run: u32,
    /// Of these, on which the new one answers something else.
    pub diverged: u32,
}

/// Tests that the search did not look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HeldOut {
    /// How many there were.
    pub run: u32,
    /// How many of them failed with the change.
    pub failed: u32,
}

impl Report {
    /// No fix, and why.
    #[must_use]
    pub fn without(result: Verdict, cause: impl Into<String>) -> Self {
        Self {
            result,
            diff: String::new(),
            cause: cause.into(),
            tries: 0,
            seconds: 0.0,
            court: Court::default(),
        }
    }
}
