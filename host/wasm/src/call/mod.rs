//! Host functions, one interface a file. Each builds a `HostCall`, lets the link count it and
//! carry it out, and turns the answer into the interface's own type. None of them does the
//! work, and none of them checks a grant: an interface that was not granted is not linked.

pub mod clock;
pub mod config;
pub mod config_read;
pub mod config_write;
pub mod fleet_control;
pub mod fleet_read;
pub mod log;
pub mod notify;
pub mod probe;

use grace_model::plugin::PluginError;
use grace_model::port::{HostAnswer, HostCall};

use crate::bindings::types as wit;
use crate::convert::types::error_out;
use crate::state::CallState;

/// What a host function gives back: outside, an end of the call; inside, an error that the
/// plugin sees.
pub type Answered<T> = wasmtime::Result<Result<T, wit::PluginError>>;

impl CallState {
    /// Makes `call` and reads its answer with `read`, which says none to an answer of another
    /// kind.
    fn ask<T>(
        &mut self,
        call: HostCall,
        read: impl FnOnce(HostAnswer) -> Option<T>,
    ) -> Answered<T> {
        let answer = self.host.ask(call)?;
        Ok(answer
            .and_then(|answer| {
                read(answer).ok_or_else(|| {
                    PluginError::Other("the host gave an answer of another kind".to_owned())
                })
            })
            .map_err(error_out))
    }
}

/// Reads `Done`.
fn done(answer: HostAnswer) -> Option<()> {
    matches!(answer, HostAnswer::Done).then_some(())
}

/// Reads a number.
fn number(answer: HostAnswer) -> Option<u64> {
    match answer {
        HostAnswer::Number { number } => Some(number),
        _ => None,
    }
}

/// Reads a text, which may be none.
fn text(answer: HostAnswer) -> Option<Option<String>> {
    match answer {
        HostAnswer::Text { text } => Some(text),
        _ => None,
    }
}
