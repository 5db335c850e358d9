//! Interface `notify`: messages to people.

use grace_model::port::HostCall;

use crate::bindings::notify::Host;
use crate::bindings::types::{Host as TypesHost, Severity};
use crate::call::{Answered, done};
use crate::convert::types::severity_in;
use crate::state::CallState;

impl Host for CallState {
    fn send(
        &mut self,
        channel: String,
        severity: Severity,
        subject: String,
        text: String,
    ) -> Answered<()> {
        let severity = severity_in(severity);
        self.ask(
            HostCall::Notify {
                channel,
                severity,
                subject,
                text,
            },
            done,
        )
    }
}

impl TypesHost for CallState {}
