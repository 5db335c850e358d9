//! The tests, by command.

mod ci;
mod demo;
mod dist;
mod plugins;
mod suite;
