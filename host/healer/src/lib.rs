//! The healer: what the journals tell goes to detectors, their findings become incidents, and
//! playbooks heal those through actions. Everything it decides is in the ledger before it is
//! done. It must not know wasm, HTTP servers or system calls; plugins, supervisor and views are
//! met through ports.

mod capsules;
mod clock;
mod desk;
mod error;
mod files;
mod govern;
mod heal;
mod house;
mod judge;
mod kernel;
mod reach;
mod record;
mod signal;
mod views;

pub use clock::{Clock, MachineClock};
pub use desk::{normalised, signature};
pub use error::{HealerError, Result};
pub use files::unguarded;
pub use heal::rules::Timing;
pub use house::{Healer, Options, start, start_with};
pub use kernel::{KernelFailure, Pulse, Spec};
pub use views::BY_HAND;
