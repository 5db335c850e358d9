//! The cases, a file a room of the house.

mod bad_input;
mod cli;
mod docs;
mod fleet;
mod healing;
mod plugins;
mod survival;
