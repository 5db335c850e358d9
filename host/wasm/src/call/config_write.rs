//! Interface `config-write`: good copies of configuration files, made and put back.

use grace_model::port::HostCall;

use crate::bindings::config_write::Host;
use crate::call::{Answered, done, text};
use crate::state::CallState;

impl Host for CallState {
    fn snapshot(&mut self, id: String, path: String) -> Answered<String> {
        self.ask(HostCall::ConfigSnapshot { id, path }, |answer| {
            text(answer).flatten()
        })
    }

    fn restore(&mut self, id: String, path: String) -> Answered<Option<String>> {
        self.ask(HostCall::ConfigRestore { id, path }, text)
    }

    fn put_back(&mut self, id: String, path: String, hash: String) -> Answered<()> {
        self.ask(HostCall::ConfigPutBack { id, path, hash }, done)
    }
}
