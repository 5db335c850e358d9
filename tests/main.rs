//! End-to-end tests: the real binary, real processes, real components, in a hermetic environment.
//! One test binary, so that everything links once. `cargo xtask test end-to-end` runs them all.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is its job"
)]

mod cases;
// The reader of metrics is the API's own.
#[path = "../host/api/tests/exposition/mod.rs"]
mod exposition;
mod harness;
