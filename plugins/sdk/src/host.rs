//! What the host offers, by capability. In a component these are the imports themselves; in
//! native tests they are the test kit's fake.

pub use crate::bindings::action::grace::plugin::config_read::File;
pub use crate::bindings::action::grace::plugin::fleet_control::StopMode;
pub use crate::bindings::action::grace::plugin::fleet_read::{Instance, Role, State};
pub use crate::bindings::action::grace::plugin::log::Level;
pub use crate::bindings::action::grace::plugin::probe::{Answer, Traffic};

#[cfg(target_family = "wasm")]
use crate::bindings::action::grace::plugin as imports;
#[cfg(not(target_family = "wasm"))]
use crate::testkit::fake as imports;

/// A setting of this plugin as text. [`crate::config`] reads them typed.
#[must_use]
pub fn setting(key: &str) -> Option<alloc::string::String> {
    imports::config::get(key)
}

/// Lines in the host's log.
pub mod log {
    use super::{Level, imports};

    /// A line for the plugin's author.
    pub fn debug(message: &str) {
        imports::log::emit(Level::Debug, message);
    }
    /// A line for the record.
    pub fn info(message: &str) {
        imports::log::emit(Level::Info, message);
    }
    /// Something looks wrong.
    pub fn warn(message: &str) {
        imports::log::emit(Level::Warn, message);
    }
    /// Something is wrong.
    pub fn error(message: &str) {
        imports::log::emit(Level::Error, message);
    }
}

/// Time. Capability `clock`.
pub mod clock {
    pub use super::imports::clock::{now, sleep_ms};
}

/// Services and instances. Capabilities `fleet:read` and `fleet:control`.
pub mod fleet {
    pub use super::imports::fleet_control::{
        drain, pause, quarantine, release, restart, resume, scale,
    };
    pub use super::imports::fleet_read::{get_instance, list_instances};
}

/// Declared configuration files. Capabilities `config:read` and `config:write`.
pub mod files {
    pub use super::imports::config_read::{files, read};
    pub use super::imports::config_write::{put_back, restore, snapshot};
}

/// Requests to instances and figures of their traffic. Capability `probe`.
pub mod probe {
    pub use super::imports::probe::{declared, http, traffic_of};
}

/// Messages to people. Capability `notify`.
pub mod notify {
    pub use super::imports::notify::send;
}
