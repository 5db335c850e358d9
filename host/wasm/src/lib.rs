//! grace-wasm
