//! Tests of the plugin host from outside: hostile guests, grants, reloads and the cache. Each
//! guest is written here as text, so that what it does can be read beside what must come of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers are outside of #[test]"
)]

mod actions;
mod cache;
mod cases;
mod contract;
mod corpus;
mod cramped;
mod engine;
mod fixtures;
mod grants;
mod guests;
mod hostile;
mod languages;
mod reload;
mod shipped;
mod siege;
mod wasi;
mod world;
