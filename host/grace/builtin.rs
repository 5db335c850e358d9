//! What was put inside this program when it was built: plugins, playbooks, the template of a new
//! plugin. Made by `build.rs`; empty where nothing was there, and then commands say so.

use grace_wasm::Builtin;

include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// Said whenever somebody looks at plugins that are not there.
pub const NO_PLUGINS: &str = "this grace was built without plugins; run `cargo xtask plugins` and build it again, \
     or put components into the directory of `[plugins] dir`";

/// A file of the template of a new plugin.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// For which world, or `both`.
    pub world: &'static str,
    /// Where it goes in the new folder.
    pub path: &'static str,
    /// What it says, with `__name__` and `__crate__` to be filled in.
    pub text: &'static str,
}

/// A playbook inside this program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinPlaybook {
    /// Its file's name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}
