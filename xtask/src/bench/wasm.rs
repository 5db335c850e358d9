//! What the plugin host adds to bare wasmtime on the same component bytes.

use anyhow::{Context, Result};
use serde_json::Value;

use super::row::Row;
use crate::command::{cargo, output};

pub const ROWS: &[&str] = &["instantiate_wasmtime", "detector_call_wasmtime"];

pub fn measure() -> Result<Vec<Row>> {
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
        .map(|name| {
            let figure = |whose: &str| {
                value[name][whose]
                    .as_f64()
                    .with_context(|| format!("no {name}.{whose}"))
            };
            Ok(Row {
                name,
                unit: "us",
                better: "lower",
                ours: figure("ours")?,
                peer: Some(figure("wasmtime")?),
                peer_name: "wasmtime",
                goal: Some(1.5),
                goal_on: "ratio",
            })
        })
        .collect()
}
