//! Pure decisions: what to do, never doing it. No I/O, no clock, no async; time comes in as an
//! argument, so that tests and simulations drive it.

pub mod fleet;
pub mod govern;
mod planted;
pub mod playbook;
pub mod restart;
pub mod run;
#[cfg(test)]
mod sim;
