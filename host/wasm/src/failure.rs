//! From what wasmtime says of a call that did not end well to the host's verdict on it. Does
//! not decide what follows from it.

use std::fmt::Write as _;

use grace_model::manifest::Limits;
use grace_model::port::CallFailure;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Frames of a trap that are shown. More says nothing to a person at night.
const FRAMES: usize = 6;

/// Why the host itself ended a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The time is up.
    #[error("the call's time is up")]
    Deadline,
    /// Too many host calls, or too much output.
    #[error("{0}")]
    Quota(String),
}

/// The verdict on `error`. `refused_memory`: whether the call ever wanted more memory than it
/// may have, which is then taken for the cause of whatever happened afterwards.
pub fn verdict(
    error: &wasmtime::Error,
    limits: &Limits,
    wall_ms: u64,
    refused_memory: bool,
) -> CallFailure {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Deadline => CallFailure::Deadline(wall_ms),
            Stop::Quota(what) => CallFailure::Quota(what.clone()),
        };
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return CallFailure::Deadline(wall_ms);
    }
    if refused_memory {
        return CallFailure::Memory(limits.memory_bytes);
    }
    if trap == Some(&Trap::OutOfFuel) {
        return CallFailure::Fuel(limits.fuel);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return CallFailure::Trap(format!(
            "it called exit({}); a plugin answers by returning",
            exit.0
        ));
    }
    let root = error.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls") {
        return CallFailure::Quota(format!(
            "it handed the host more than {} bytes at once",
            limits.output_bytes
        ));
    }
    CallFailure::Trap(describe(error, &root))
}

fn describe(error: &wasmtime::Error, root: &str) -> String {
    let mut text = root.strip_prefix("wasm trap: ").unwrap_or(root).to_owned();
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else {
        return text;
    };
    // Only the printed form has the names as their author wrote them: `  0: module!name`.
    let printed = trace.to_string();
    let names: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.split_once('!').map(|(_, name)| name))
        .collect();
    for (place, name) in names.iter().take(FRAMES).enumerate() {
        let _ = write!(text, "{}{name}", if place == 0 { " in " } else { " < " });
    }
    if names.len() > FRAMES {
        let _ = write!(text, " < {} more", names.len() - FRAMES);
    }
    text
}
