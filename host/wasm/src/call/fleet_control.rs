//! Interface `fleet-control`: changes to instances.

use grace_model::command::StopMode as Mode;
use grace_model::port::HostCall;

use crate::bindings::fleet_control::{Host, StopMode};
use crate::call::{Answered, done, number};
use crate::state::CallState;

impl Host for CallState {
    fn restart(&mut self, id: String, mode: StopMode, reason: String) -> Answered<u64> {
        let mode = match mode {
            StopMode::Graceful => Mode::Graceful,
            StopMode::Kill => Mode::Kill,
        };
        self.ask(HostCall::Restart { id, mode, reason }, number)
    }

    fn pause(&mut self, id: String, reason: String) -> Answered<()> {
        self.ask(HostCall::Pause { id, reason }, done)
    }

    fn resume(&mut self, id: String, reason: String) -> Answered<()> {
        self.ask(HostCall::Resume { id, reason }, done)
    }

    fn scale(&mut self, service: String, instances: u32, reason: String) -> Answered<u32> {
        self.ask(
            HostCall::Scale {
                service,
                instances,
                reason,
            },
            |answer| number(answer).and_then(|before| u32::try_from(before).ok()),
        )
    }

    fn drain(&mut self, id: String, reason: String) -> Answered<()> {
        self.ask(HostCall::Drain { id, reason }, done)
    }

    fn quarantine(&mut self, id: String, reason: String) -> Answered<()> {
        self.ask(HostCall::Quarantine { id, reason }, done)
    }

    fn release(&mut self, id: String, reason: String) -> Answered<()> {
        self.ask(HostCall::Release { id, reason }, done)
    }
}
