//! The ledger from outside: real files, real processes, real damage.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod contents;
mod crash;
mod damage;
mod disk;
mod retention;
mod sample;
