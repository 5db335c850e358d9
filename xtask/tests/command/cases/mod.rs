//! The tests, by command.

mod bench;
mod ci;
mod claims;
mod demo;
mod dist;
mod plugins;
mod suite;
