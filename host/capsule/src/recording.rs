//! What the proxy hands over when an instance fails: the requests that it recorded, and why. The
//! rest of a capsule is added by who reads the journals.

use grace_model::event::Subject;
use serde::{Deserialize, Serialize};

use crate::capsule::{Coverage, Request};

/// The recorded traffic of one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Which process.
    pub subject: Subject,
    /// Why it was handed over.
    pub why: Why,
    /// When, in milliseconds since 1970 by the wall clock.
    pub at: u64,
    /// How much of the traffic is in it.
    pub coverage: Coverage,
    /// Oldest first.
    pub requests: Vec<Request>,
}

/// Why a recording was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The process ended.
    Died,
    /// It was taken out of rotation because it did not answer.
    Silent,
    /// It was taken out of rotation because of server errors.
    Errors,
}
