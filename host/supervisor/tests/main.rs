//! Keeper and supervisor with real processes: each test has a host of its own in a temporary
//! directory, and ends what it started.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod clock;
mod confine;
mod deaths;
mod host;
mod life;
mod operations;
mod output;
mod roles;
