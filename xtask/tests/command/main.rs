//! `cargo xtask` as a whole, in a checkout of its own where cargo, rustup and everything they make
//! are scripts: what is run, in which order, with what, and what a failure does.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is its job"
)]

mod cases;
mod checkout;
