//! Plain data that Grace's processes share: ids, configuration, events, commands,
//! observations, findings, incidents, manifests, playbooks, and the ports (traits) by which
//! rooms meet. No I/O, no clock, no async, no threads: whoever needs those lives elsewhere.

pub mod chaos;
pub mod command;
pub mod config;
pub mod event;
pub mod govern;
pub mod id;
pub mod incident;
pub mod instance;
pub mod ipc;
pub mod isolation;
pub mod layout;
pub mod manifest;
pub mod net;
pub mod playbook;
pub mod plugin;
pub mod port;
pub mod record;
pub mod report;
pub mod status;
pub mod usage;

/// Milliseconds since the Unix epoch.
pub type TimestampMs = u64;
