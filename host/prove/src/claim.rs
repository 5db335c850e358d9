//! What a claim is: a sentence, and a trial that can be made whole or with the property broken.

use anyhow::Result;

use crate::Stage;

/// A sentence about Grace that is either proved on this machine or not printed as true.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Its name, such as `seed.failover`.
    pub id: &'static str,
    /// The sentence.
    pub claim: &'static str,
    /// What the control breaks.
    pub control: &'static str,
    /// Primitives of the kernel that the trial needs, by their names in `grace doctor`.
    pub needs: &'static [&'static str],
    /// The trial.
    pub trial: Trial,
}

/// Makes the fault and judges from outside. The same judge for both variants.
pub type Trial = fn(&Stage, Variant) -> Result<Seen>;

/// Which variant of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As Grace is.
    Whole,
    /// With what the claim says taken away.
    Broken,
}

impl Variant {
    /// Whether the property is there.
    #[must_use]
    pub fn whole(self) -> bool {
        self == Variant::Whole
    }
}

/// What a trial saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether all that the sentence says was seen.
    pub holds: bool,
    /// What was seen, for a person, a line each.
    pub evidence: Vec<String>,
}

impl Seen {
    /// Nothing yet, and nothing against it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            holds: true,
            evidence: Vec::new(),
        }
    }

    /// Another look: whether it was as claimed, and what was seen.
    pub fn look(&mut self, as_claimed: bool, what: impl Into<String>) {
        self.holds &= as_claimed;
        let what = what.into();
        self.evidence.push(match as_claimed {
            true => what,
            false => format!("not so: {what}"),
        });
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self::new()
    }
}
