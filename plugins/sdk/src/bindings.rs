//! The bindings that `wit-bindgen` makes of `grace:plugin`. Nothing is written by hand here.
//!
//! The two worlds share their types: the detector world takes its imports from the action
//! world, so that [`crate::Finding`] is one type. Linking this crate brings in neither world:
//! unused imports are dropped, and exports come with the export macros alone.

/// The world `action`, and the interfaces of both worlds.
#[allow(missing_docs, unsafe_code, clippy::all, rust_2018_idioms)]
pub mod action {
    wit_bindgen::generate!({
        path: "wit",
        world: "action",
        pub_export_macro: true,
        default_bindings_module: "grace_plugin_sdk::bindings::action",
        additional_derives: [PartialEq, Eq],
        generate_unused_types: true,
    });
}

/// The world `detector`.
#[allow(missing_docs, unsafe_code, clippy::all, rust_2018_idioms)]
pub mod detector {
    wit_bindgen::generate!({
        path: "wit",
        world: "detector",
        pub_export_macro: true,
        default_bindings_module: "grace_plugin_sdk::bindings::detector",
        additional_derives: [PartialEq, Eq],
        with: {
            "grace:plugin/types@0.1.0": crate::bindings::action::grace::plugin::types,
            "grace:plugin/log@0.1.0": crate::bindings::action::grace::plugin::log,
            "grace:plugin/config@0.1.0": crate::bindings::action::grace::plugin::config,
        },
    });
}
