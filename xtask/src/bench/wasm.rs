//! What the plugin host adds to bare wasmtime on the same component bytes.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::row::{Figure, Spec, beside};
use crate::command::{cargo, output};

pub const ROWS: &[Spec] = &[
    beside("instantiate_wasmtime", "us", "lower", "wasmtime", Some(1.5)),
    beside(
        "detector_call_wasmtime",
        "us",
        "lower",
        "wasmtime",
        Some(1.5),
    ),
];

/// The example measures both in interleaved rounds and prints medians.
pub fn measure(_grace: &Path) -> Result<Vec<Figure>> {
    let text = output(cargo().args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "grace-wasm",
        "--example",
        "call_cost",
    ]))?;
    let value: Value = serde_json::from_str(text.trim()).context("call_cost prints no JSON")?;
    ROWS.iter()
        .map(|spec| {
            let name = spec.name;
            let figure = |whose: &str| {
                value[name][whose]
                    .as_f64()
                    .with_context(|| format!("no {name}.{whose}"))
            };
            Ok(Figure::beside(spec, figure("ours")?, figure("wasmtime")?))
        })
        .collect()
}
