//! Interface `config-read`: declared configuration files as they are.

use grace_model::port::{HostAnswer, HostCall};

use crate::bindings::config_read::{File, Host};
use crate::call::Answered;
use crate::convert::host::file_out;
use crate::state::CallState;

impl Host for CallState {
    fn files(&mut self, id: String) -> Answered<Vec<File>> {
        self.ask(HostCall::ConfigFiles { id }, |answer| match answer {
            HostAnswer::Files { files } => Some(files.into_iter().map(file_out).collect()),
            _ => None,
        })
    }

    fn read(&mut self, id: String, path: String) -> Answered<Vec<u8>> {
        self.ask(HostCall::ConfigRead { id, path }, |answer| match answer {
            HostAnswer::Bytes { bytes } => Some(bytes),
            _ => None,
        })
    }
}
