//! A plugin's two files: what they look like from outside, and what is in them. Decides
//! nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::load::LoadError;

/// A component larger than this is not compiled: compiling takes memory many times its size.
const MAX_COMPONENT: u64 = 64 << 20;

/// What a file looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A component's bytes, its hash and its manifest.
pub struct Files {
    /// The component.
    pub wasm: Vec<u8>,
    /// Its BLAKE3, in hex.
    pub hash: String,
    /// The manifest's text.
    pub manifest: String,
}

/// What the file looks like; none when it is not there.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp {
        inode: about.ino(),
        size: about.size(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

/// Reads the files of plugin `name`.
pub fn read(name: &str, wasm_file: &Path, manifest_file: &Path) -> Result<Files, LoadError> {
    let good_name = name.len() <= 64
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !good_name {
        return Err(LoadError::refused(
            wasm_file,
            "its name is no plugin name",
            "use at most 64 letters, digits, - and _",
        ));
    }
    let (wasm, manifest) = read_files(wasm_file, manifest_file)?;
    let hash = blake3::hash(&wasm).to_hex().to_string();
    Ok(Files {
        wasm,
        hash,
        manifest,
    })
}

/// The bytes of a component and the text of its manifest.
pub fn read_files(wasm_file: &Path, manifest_file: &Path) -> Result<(Vec<u8>, String), LoadError> {
    let told = |file: &Path, missing: &str, error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return LoadError::refused(file, "it is missing", missing);
        }
        LoadError::refused(
            file,
            format!("it cannot be read: {error}"),
            "make it readable for Grace",
        )
    };
    let manifest = fs::read_to_string(manifest_file).map_err(|error| {
        told(
            manifest_file,
            "put it beside the component, with at least api = \"0.1\" and world = \"detector\" or \"action\"",
            error,
        )
    })?;
    let of_wasm = |error| told(wasm_file, "put the component beside its manifest", error);
    let size = fs::metadata(wasm_file).map_err(of_wasm)?.len();
    if size > MAX_COMPONENT {
        return Err(LoadError::refused(
            wasm_file,
            format!(
                "it has {} MiB, and at most {} are compiled",
                size >> 20,
                MAX_COMPONENT >> 20
            ),
            "strip its debug information (`strip = true` in the release profile)",
        ));
    }
    Ok((fs::read(wasm_file).map_err(of_wasm)?, manifest))
}
