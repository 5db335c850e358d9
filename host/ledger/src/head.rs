//! A witness beside the database: which entry was acknowledged last. It is written after the
//! commit has reached the disk, so it never claims too much; what it claims and the database
//! has not was lost from the database. A witness that is absent or unreadable claims nothing.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::entry::row_sum;

/// An entry's number and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub seq: u64,
    pub hash: String,
}

/// The witness of the database at `path`.
pub(crate) fn path_of(path: &Path) -> PathBuf {
    with_suffix(path, "-head")
}

/// `path` with `suffix` appended to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The open witness.
pub(crate) struct HeadFile(Option<File>);

impl HeadFile {
    /// Opens or makes it. A machine that refuses leaves the ledger without a witness, which
    /// is still a ledger.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        Self(file.ok())
    }

    /// Notes the last entry. A failure leaves an older claim or none, and both are true.
    pub fn note(&self, head: &Head) {
        if let Some(file) = &self.0 {
            let _older_claim_stays = file.write_all_at(line(head).as_bytes(), 0);
        }
    }
}

/// What the witness at `path` claims.
pub(crate) fn claim(path: &Path) -> Option<Head> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(4096)
        .read_to_string(&mut text)
        .ok()?;
    let mut words = text.split_ascii_whitespace();
    let head = Head {
        seq: words.next()?.parse().ok()?,
        hash: words.next()?.to_owned(),
    };
    (text == line(&head)).then_some(head)
}

/// Of constant length, so that writing it again needs no room on the disk.
fn line(head: &Head) -> String {
    let seq = format!("{:020}", head.seq);
    let sum = row_sum("witness", &[seq.as_bytes(), head.hash.as_bytes()]);
    format!("{seq} {} {sum}\n", head.hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_read_back_and_a_changed_one_claims_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        assert_eq!(claim(&path), None);
        let file = HeadFile::open(&path);
        let head = Head {
            seq: 7,
            hash: "ab".repeat(32),
        };
        file.note(&head);
        assert_eq!(claim(&path), Some(head.clone()));
        let bytes = std::fs::read(&path).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert_eq!(claim(&path), None, "byte {place}");
        }
    }
}
