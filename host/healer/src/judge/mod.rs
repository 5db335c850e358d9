//! From observations to incidents: the kernel `triggers` has the detectors judge, the kernel
//! `recognizer` stores what they said, in one transaction with the place up to which it was
//! read.

mod recognizer;
mod triggers;

pub use recognizer::Recognizer;
pub use triggers::{Parts, Triggers};
