//! Write plugins for Grace. A detector implements [`Detector`] and is exported with
//! [`export_detector!`]; a pack of actions implements [`ActionPack`] and is exported with
//! [`export_action!`]. It must not know the host: only the WIT package `grace:plugin`.
//!
//! A plugin built with this crate has no WASI imports: its crate starts with
//! `#![cfg_attr(target_family = "wasm", no_std)]` and uses [`prelude`]. A plugin that wants
//! `std` leaves that line out and exports with `export_detector!(Name, std)`.
//!
//! On every other target than wasm the same code runs against [`testkit`], so that plain
//! `cargo test` tests a plugin without the host.

#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

pub mod action;
pub mod alarm;
pub mod bindings;
pub mod config;
pub mod detector;
pub mod duration;
pub mod fields;
pub mod fleet;
pub mod host;
pub mod runtime;
pub mod targets;

#[cfg(not(target_family = "wasm"))]
pub mod testkit;

pub use action::ActionPack;
pub use detector::Detector;
pub use serde;

/// What most plugins need: the traits, the vocabulary, and what `no_std` leaves out of Rust's
/// own prelude.
pub mod prelude {
    pub use alloc::borrow::ToOwned;
    pub use alloc::boxed::Box;
    pub use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
    pub use alloc::format;
    pub use alloc::string::{String, ToString};
    pub use alloc::vec;
    pub use alloc::vec::Vec;

    pub use crate::action::{
        ActionInfo, ActionPack, Call, Param, ParamType, Receipt, Risk, action, optional, receipt,
        required,
    };
    pub use crate::alarm::Alarm;
    pub use crate::detector::{Batch, Detector};
    pub use crate::fields::{Named, finding};
    pub use crate::host;
    pub use crate::targets::Targets;
    pub use crate::{
        Field, Finding, Observation, PluginError, Result, Severity, Value, export_action,
        export_detector,
    };
    pub use crate::{config, duration};
}

pub use bindings::action::grace::plugin::types::{
    Field, Finding, Observation, PluginError, Severity, Value,
};

/// What a plugin answers, or why it cannot.
pub type Result<T> = core::result::Result<T, PluginError>;
