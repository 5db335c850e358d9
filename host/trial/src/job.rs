//! What a copy is told: one JSON document from outside, and one back.

use std::path::PathBuf;

use grace_capsule::Request;
use grace_model::config::Service;
use grace_model::id::InstanceId;
use serde::{Deserialize, Serialize};

/// All that a copy needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The service, as configured now.
    pub service: Service,
    /// Of which instance it is a copy.
    pub instance: InstanceId,
    /// What is in its data directory at first; none: nothing.
    pub snapshot: Option<PathBuf>,
    /// Sent one after another.
    pub requests: Vec<Request>,
    /// Time from its start to ready.
    pub start_ms: u64,
    /// Time that a request may take.
    pub answer_ms: u64,
    /// Whether it runs without the system calls that change the kernel or other processes.
    pub filter: bool,
}
