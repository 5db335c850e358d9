//! What the healer sees: journals, resources, traffic. It turns facts into observations and
//! judges nothing; judging is the detectors'.

pub mod convert;
pub mod journals;
pub mod measured;
pub mod resources;
#[cfg(test)]
pub mod table;
pub mod traffic;
pub mod watch;
