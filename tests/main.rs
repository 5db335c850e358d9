//! End-to-end tests: the real binary, real processes, real components, in a hermetic environment.
//! One test binary, so that everything links once. `cargo xtask test end-to-end` runs them all.

mod cases;
mod harness;
