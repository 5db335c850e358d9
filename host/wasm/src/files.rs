//! A plugin's two files: what they look like from outside, and what is in them. Decides
//! nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::load::LoadError;

/// A component larger than this is not compiled: compiling takes memory many times its size.
const MAX_COMPONENT: u64 = 64 << 20;
/// A manifest is a page of text.
const MAX_MANIFEST: u64 = 64 << 10;

/// What a file looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }
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

/// Whether something is there under this name, if only a link that leads nowhere.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether a plugin may be called this.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 64 && name.chars().all(plain)
}

/// Reads the files of plugin `name`.
pub fn read(name: &str, wasm_file: &Path, manifest_file: &Path) -> Result<Files, LoadError> {
    if !is_name(name) {
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
    let manifest = read_one(
        manifest_file,
        MAX_MANIFEST,
        "put it beside the component, with at least api = \"0.1\" and world = \"detector\" or \"action\"",
        "a manifest is a page of TOML; is it the right file?",
    )?;
    let manifest = String::from_utf8(manifest).map_err(|_| {
        LoadError::refused(
            manifest_file,
            "it is no text in UTF-8",
            "write it as TOML in UTF-8",
        )
    })?;
    let wasm = read_one(
        wasm_file,
        MAX_COMPONENT,
        "put the component beside its manifest",
        "strip its debug information (`strip = true` in the release profile)",
    )?;
    Ok((wasm, manifest))
}

/// The bytes of a regular file, at most `most` of them: a pipe would hold the loader for ever,
/// and a device has no end.
fn read_one(file: &Path, most: u64, missing: &str, smaller: &str) -> Result<Vec<u8>, LoadError> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if is_there(file) => LoadError::refused(
            file,
            "it is a link that leads nowhere",
            "correct the link, or copy the file here",
        ),
        io::ErrorKind::NotFound => LoadError::refused(file, "it is missing", missing),
        _ => LoadError::refused(
            file,
            format!("it cannot be read: {error}"),
            "make it readable for Grace",
        ),
    };
    let about = fs::metadata(file).map_err(told)?;
    if !about.is_file() {
        let what = if about.is_dir() {
            "it is a directory"
        } else {
            "it is a pipe, a socket or a device"
        };
        return Err(LoadError::refused(file, what, "put the file itself here"));
    }
    let too_large = |size: u64| {
        let (size, most) = if most < 1 << 20 {
            (format!("{} KiB", size >> 10), format!("{} KiB", most >> 10))
        } else {
            (format!("{} MiB", size >> 20), format!("{} MiB", most >> 20))
        };
        LoadError::refused(
            file,
            format!("it has {size}, and at most {most} are read"),
            smaller,
        )
    };
    if about.len() > most {
        return Err(too_large(about.len()));
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(told)?;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    match u64::try_from(bytes.len()).unwrap_or(u64::MAX) {
        size if size > most => Err(too_large(size)),
        _ => Ok(bytes),
    }
}
