//! One file a command.

pub mod agent;
pub mod artifacts;
pub mod capsule;
pub mod chaos;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod down;
pub mod fleet;
pub mod govern;
pub mod incidents;
pub mod init;
pub mod instances;
pub mod internal;
pub mod kernels;
pub mod logs;
pub mod metrics;
pub mod playbook;
pub mod plugin;
pub mod prove;
pub mod run;
pub mod services;
pub mod status;
pub mod top;
pub mod up;
pub mod upgrade;
