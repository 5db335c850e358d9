//! The plugin host: engines, worlds, limits, grants, the cache of compiled code and the
//! registry that keeps all of it live. The only crate that names wasmtime. It must not know
//! what a finding means or what an action is good for.
//!
//! A call owns its store, its instance and its thread; nothing of it is left when it ends.

mod aot;
mod bindings;
mod call;
mod cases;
mod convert;
mod drive;
mod engine;
mod failure;
mod files;
mod grant;
mod imports;
mod inspect;
mod limits;
mod link;
mod load;
mod loader;
mod manifest;
mod permits;
mod plugin;
mod registry;
mod settings;
mod snapshot;
mod state;
mod tell;
mod ticker;
mod tuning;
mod wasi;
mod watch;

pub use aot::precompile;
pub use cases::{Case, CaseReport, Expected, run_cases};
pub use grant::{Capability, read_grants};
pub use inspect::{Inspection, check, inspect};
pub use load::LoadError;
pub use manifest::read_manifest;
pub use plugin::Called;
pub use registry::{Figures, Registry, StartError};
pub use settings::{Builtin, Settings};
