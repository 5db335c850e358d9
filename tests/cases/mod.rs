//! The cases, a file a room of the house.

mod agent;
mod apart;
mod bad_input;
mod capsules;
mod chaos;
mod cli;
mod commands;
mod demo;
mod dist;
mod docs;
mod everything;
mod fleet;
mod governance;
mod healing;
mod isolation;
mod load;
mod overload;
mod peers;
mod plugins;
mod prove;
mod roles;
mod survival;
mod top;
mod upgrade;
mod watching;
mod workshop;
