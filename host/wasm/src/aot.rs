//! Compiled code kept for the next start. The only file with `unsafe`: loading machine code is
//! as trusting as running it, so every byte is checked against a digest first, and a digest is
//! only believed where nobody else can write. Knows no manifest and no grant.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::tuning;

/// Files that are kept; older ones go. Each plugin has one a version.
const KEPT: usize = 128;
/// Bytes of a BLAKE3.
const DIGEST: usize = 32;

/// A private directory of compiled components.
pub struct Cache {
    dir: PathBuf,
    engine: String,
}

impl Cache {
    /// Opens or makes `dir`. Its owner must be us and nobody else may enter it.
    pub fn open(dir: &Path, engine: &Engine) -> Result<Self, String> {
        let told = |error: io::Error| format!("{}: {error}", dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(told)?;
        let about = fs::symlink_metadata(dir).map_err(told)?;
        if !about.is_dir() {
            return Err(format!("{} is no directory; remove it", dir.display()));
        }
        if about.mode() & 0o077 != 0 {
            return Err(format!(
                "{} is open to others, so its contents cannot be trusted; remove it",
                dir.display()
            ));
        }
        // A file of ours tells who we are, as the file system sees it.
        let probe = dir.join(format!(".owner-{}", std::process::id()));
        let ours = create_private(&probe)
            .and_then(|file| file.metadata())
            .map(|file| file.uid());
        let _ = fs::remove_file(&probe);
        if ours.map_err(told)? != about.uid() {
            return Err(format!(
                "{} belongs to another user; remove it",
                dir.display()
            ));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            dir: dir.to_owned(),
            engine: format!("{:016x}", hasher.finish()),
        })
    }

    /// Whether there is something for the component with this hash; it may yet be damaged.
    pub fn has(&self, hash: &str) -> bool {
        self.path(hash).exists()
    }

    /// The compiled form of the component with this hash, if it is here and whole.
    pub fn load(&self, engine: &Engine, hash: &str) -> Option<Component> {
        let path = self.path(hash);
        let digest = fs::read(path.with_extension("b3")).ok()?;
        let mut file = File::open(&path).ok()?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(buffer.get(..count)?);
                }
                Err(_) => return None,
            }
        }
        if hasher.finalize().to_hex().as_bytes() != digest {
            tracing::warn!(file = %path.display(), "compiled plugin does not match its digest; it is compiled again");
            return None;
        }
        // The same open file, whatever has been renamed over its name since.
        let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: `deserialize_file` asks that the bytes were made by wasmtime's own compiler
        // and are not changed while they are mapped. (1) The bytes were just read from this
        // very open file and match the digest that `store` wrote beside it, and `store` writes
        // only what `Component::serialize` gave it. (2) Both files are in a directory of mode
        // 0700 that belongs to our user (checked in `open`), so only our own user can have
        // written either, and that user can change this process anyway. (3) `store` never
        // writes into an existing file: it renames a new one over the name, so the mapped file
        // stays as it is. A file of another wasmtime or another configuration is refused by
        // the header that `deserialize_file` itself checks.
        #[allow(unsafe_code)]
        let loaded = unsafe { Component::deserialize_file(engine, &opened) };
        loaded
            .inspect_err(|error| {
                tracing::info!(file = %path.display(), "compiled plugin is of another engine, so it is compiled again: {error:#}");
            })
            .ok()
    }

    /// Keeps the compiled form of the component with this hash. Not being able to costs the
    /// next start a compilation and nothing else.
    pub fn store(&self, hash: &str, component: &Component) {
        let path = self.path(hash);
        let kept = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|bytes| {
                let digest = blake3::hash(&bytes).to_hex();
                replace(&path, &bytes)?;
                replace(&path.with_extension("b3"), digest.as_bytes())
            });
        if let Err(error) = kept {
            tracing::warn!(file = %path.display(), "compiled plugin is not kept: {error}; is the disk full?");
        }
        self.prune();
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.dir.join(format!("{hash}-{}.cwasm", self.engine))
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let mut files: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "cwasm"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let over = files.len().saturating_sub(KEPT);
        for (_, path) in files.into_iter().take(over) {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(path.with_extension("b3"));
        }
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(name);
    let written = create_private(&new).and_then(|mut file| file.write_all(bytes));
    written
        .and_then(|()| fs::rename(&new, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
}

/// The compiled form, built into this program, of the component with this hash: `bytes` is
/// [`precompile`]'s answer. None when it was made from another component, does not fit this
/// wasmtime, this configuration or this CPU, or is damaged.
pub fn load_shipped(engine: &Engine, hash: &str, bytes: &'static [u8]) -> Option<Component> {
    let (digest, rest) = bytes.split_at_checked(DIGEST)?;
    if blake3::hash(rest).as_bytes() != digest {
        tracing::warn!("a compiled plugin inside this program is damaged; it is compiled again");
        return None;
    }
    let (of, code) = rest.split_at_checked(DIGEST)?;
    if blake3::Hash::from_slice(of).ok()?.to_hex().as_str() != hash {
        tracing::warn!(
            "a compiled plugin inside this program was made from another version of it; it is compiled again"
        );
        return None;
    }
    // SAFETY: `deserialize` asks that the bytes were made by wasmtime's own compiler. They are
    // part of this program's own file, put there by its build from what `precompile` answered,
    // and match the digest that `precompile` put before them; who can change them can change
    // the program. `'static` keeps callers from handing in a file they read. Bytes made for
    // another wasmtime, configuration or CPU are refused by the header that `deserialize`
    // itself checks.
    #[allow(unsafe_code)]
    let loaded = unsafe { Component::deserialize(engine, code) };
    loaded
        .inspect_err(|error| {
            tracing::info!("a shipped compiled plugin is compiled again: {error:#}")
        })
        .ok()
}

/// Compiles `wasm` for any CPU of this architecture, for building into the program. The answer
/// is a digest of what follows, the component's hash, the code.
///
/// # Errors
/// Why it does not compile.
pub fn precompile(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let mut config = tuning::code();
    // Naming the target keeps the compiler from using what only this machine's CPU has.
    config
        .target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .and_then(|config| Engine::new(config))
        .and_then(|engine| engine.precompile_component(wasm))
        .map(|code| {
            let mut rest = blake3::hash(wasm).as_bytes().to_vec();
            rest.extend_from_slice(&code);
            let mut bytes = blake3::hash(&rest).as_bytes().to_vec();
            bytes.append(&mut rest);
            bytes
        })
        .map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine on a CPU without any extension of its architecture.
    fn plain_cpu() -> Engine {
        let mut config = tuning::code();
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        config.target(&target).unwrap();
        // SAFETY: what this CPU really has can only be more than nothing.
        #[allow(unsafe_code)]
        unsafe {
            config.detect_host_feature(|_| Some(false));
        }
        Engine::new(&config).unwrap()
    }

    #[test]
    fn the_precompiled_form_runs_on_a_cpu_without_extensions() {
        // Arithmetic that extensions have instructions of their own for.
        let wasm = br#"(component (core module
            (func (export "f") (param i64 f64 v128) (result i64)
                local.get 0 i64.popcnt local.get 0 i64.ctz i64.add
                local.get 1 f64.ceil i64.trunc_sat_f64_s i64.add
                local.get 2 local.get 2 i32x4.mul i64x2.extract_lane 0 i64.add)))"#;
        let wasm = wat::parse_bytes(wasm).unwrap();
        let engine = plain_cpu();
        let shipped = precompile(&wasm).unwrap();
        let hash = blake3::hash(&wasm).to_hex();
        assert!(load_shipped(&engine, &hash, shipped.leak()).is_some());
        // Whoever compiles for the CPU at hand makes something else, unless that one is as plain.
        let here = Engine::new(&tuning::code()).unwrap();
        let code = here.precompile_component(&wasm).unwrap();
        // SAFETY: the bytes are what wasmtime's own compiler just gave.
        #[allow(unsafe_code)]
        let loaded = unsafe { Component::deserialize(&engine, code) };
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("sse4.1") {
            let error = format!("{:#}", loaded.err().unwrap());
            assert!(error.contains("not available on the host"), "{error}");
        }
    }
}
