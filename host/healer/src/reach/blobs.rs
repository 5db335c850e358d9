//! Bytes kept by their hash: last good copies of configuration files and what replaced them.
//! Private to Grace, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The blobs below one directory.
pub struct Blobs {
    dir: PathBuf,
}

/// The hash of bytes, as everything here names it.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

impl Blobs {
    /// Blobs below `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)?;
        Ok(Self { dir })
    }

    /// Keeps bytes; answers with their hash. On the disk when it returns.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<String> {
        let hash = hash_of(bytes);
        if self.get(&hash).is_ok() {
            return Ok(hash);
        }
        let new = beside(&self.dir, &hash);
        let written = write_new(&new, bytes, 0o600)
            .and_then(|_file| fs::rename(&new, self.dir.join(&hash)))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        if written.is_err() {
            let _never_made = fs::remove_file(&new);
        }
        written.map(|()| hash)
    }

    /// Kept bytes. What does not have its hash any more is an error.
    ///
    /// # Errors
    /// What the file system says, or that the blob is damaged.
    pub fn get(&self, hash: &str) -> io::Result<Vec<u8>> {
        let named = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        if !named {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "that is no hash",
            ));
        }
        let path = self.dir.join(hash);
        let bytes = fs::read(&path)?;
        if hash_of(&bytes) != hash {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged", path.display()),
            ));
        }
        Ok(bytes)
    }
}

/// A name in `dir` that nobody uses.
pub(crate) fn beside(dir: &Path, name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    dir.join(format!(".{name}.grace-{}-{count}", std::process::id()))
}

/// Writes a file that did not exist, and syncs it.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    // Left by a process that died and whose pid came again.
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_by_their_hash_and_damaged_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
        let hash = blobs.keep(b"port = 1").unwrap();
        assert_eq!(blobs.keep(b"port = 1").unwrap(), hash);
        assert_eq!(blobs.get(&hash).unwrap(), b"port = 1");
        fs::write(dir.path().join("blobs").join(&hash), b"port = 2").unwrap();
        assert!(blobs.get(&hash).is_err());
        assert_eq!(blobs.keep(b"port = 1").unwrap(), hash, "it is written anew");
        assert_eq!(blobs.get(&hash).unwrap(), b"port = 1");
        assert!(blobs.get("../secret").is_err());
    }
}
