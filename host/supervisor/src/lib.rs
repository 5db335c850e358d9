//! Keeper and supervisor: the two processes that keep all others up.
//!
//! The keeper has no logic: it holds open files, collects exits and starts the supervisor.
//! The supervisor starts, watches, fences, restarts and adopts. It never waits for the proxy
//! or the healer, never opens a connection to them, and asks no database anything.

mod adopt;
mod carry;
mod clients;
mod commands;
mod confine;
mod core;
mod deaths;
mod error;
mod files;
mod fleets;
pub mod keeper;
mod launch;
mod link;
mod log;
pub mod migrate;
mod parts;
pub mod program;
mod records;
mod renew;
mod ring;
mod slot;
mod snapshot;
mod start;
mod tables;
mod watch;

pub use error::Error;
pub use start::{Setup, main, run};
