//! Interface `clock`: the time now, and waiting within the call's own time.

use std::time::{Duration, Instant};

use grace_model::plugin::PluginError;
use grace_model::port::HostCall;

use crate::bindings::clock::Host;
use crate::call::{Answered, done, number};
use crate::convert::types::error_out;
use crate::state::CallState;

const MAX_SLEEP_MS: u32 = 10_000;

impl Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let now = self.host.ask(HostCall::Now)?;
        now.ok()
            .and_then(number)
            .ok_or_else(|| wasmtime::Error::msg("the host has no clock for this call"))
    }

    fn sleep_ms(&mut self, ms: u32) -> Answered<()> {
        let refused = if ms > MAX_SLEEP_MS {
            Some(PluginError::InvalidInput(format!(
                "{ms} ms; at most {MAX_SLEEP_MS} at once"
            )))
        } else if Instant::now() + Duration::from_millis(u64::from(ms)) >= self.host.deadline() {
            Some(PluginError::TimedOut(format!(
                "{ms} ms is more than is left of this call"
            )))
        } else {
            None
        };
        match refused {
            Some(error) => {
                self.host.count()?;
                Ok(Err(error_out(error)))
            }
            None => self.ask(HostCall::Sleep { ms }, done),
        }
    }
}
