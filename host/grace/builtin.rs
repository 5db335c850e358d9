//! What was put inside this program when it was built: plugins, playbooks, the template of a new
//! plugin. Made by `build.rs`; empty where nothing was there, and then commands say so.

use grace_wasm::Builtin;

include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// What to say where somebody looks at plugins and this program has none inside, although they
/// are `wanted`. Without them a host heals nothing but dead processes, and must not be silent.
pub fn missing(inside: &[Builtin], wanted: bool) -> Option<&'static str> {
    (wanted && inside.is_empty()).then_some(NO_PLUGINS)
}

const NO_PLUGINS: &str = "this grace was built without plugins; run `cargo xtask plugins` and build it again, \
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_plugins_says_so_and_names_the_command() {
        let one = Builtin {
            name: "one",
            wasm: b"",
            manifest: "",
            precompiled: None,
        };
        let text = missing(&[], true).unwrap_or_default();
        assert!(
            text.contains("without plugins") && text.contains("`cargo xtask plugins`"),
            "{text}"
        );
        assert_eq!(missing(&[one], true), None);
        // Whoever switches them off knows.
        assert_eq!(missing(&[], false), None);
    }
}
