//! Isolation with real processes: what is contained, what is told when the machine does not give
//! it, as root and as an ordinary user. Bounded: at most 64 processes and 64 MiB each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod contain;
mod copy;
mod home;
mod less;
mod machine;
mod reach;
mod stage;
mod usage;
