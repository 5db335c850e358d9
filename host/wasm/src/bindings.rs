//! The worlds of `wit/` as Rust, made by wasmtime's macro. Nothing else is here: what the
//! functions do is in `call`, how the types become the model's is in `convert`.
#![allow(
    missing_docs,
    rust_2018_idioms,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated; documented in wit/"
)]

/// World `action`, which has every import, so its types serve both worlds.
pub mod action {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "action",
        imports: { default: trappable },
        exports: { default: async },
    });
}

/// World `detector`.
pub mod detector {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "detector",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "grace:plugin/types@0.1.0": super::action::grace::plugin::types,
            "grace:plugin/log@0.1.0": super::action::grace::plugin::log,
            "grace:plugin/config@0.1.0": super::action::grace::plugin::config,
        },
    });
}

pub use action::exports::grace::plugin::act;
pub use action::grace::plugin::{
    clock, config, config_read, config_write, fleet_control, fleet_read, log, notify, probe, types,
};
pub use detector::exports::grace::plugin::detect;
