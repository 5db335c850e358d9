//! Interface `config`: the plugin's own settings.

use crate::bindings::config::Host;
use crate::state::CallState;

impl Host for CallState {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.host.count()?;
        Ok(self.config.get(&key).cloned())
    }
}
