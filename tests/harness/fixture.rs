//! Components that are there to be dropped in.

use std::fs;
use std::path::PathBuf;

/// A component and its manifest.
pub fn fixture(name: &str) -> (Vec<u8>, String) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/out/fixtures");
    let dir = std::env::var_os("GRACE_FIXTURES").map_or(dir, PathBuf::from);
    let read = |end: &str| {
        let file = dir.join(format!("{name}.{end}"));
        fs::read(&file).unwrap_or_else(|error| {
            panic!("{}: {error}; run `cargo xtask plugins`", file.display())
        })
    };
    (
        read("wasm"),
        String::from_utf8(read("toml")).expect("a manifest is text"),
    )
}
