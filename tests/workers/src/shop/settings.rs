//! The worker's configuration file, looked at for each request and read again when it changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Deserialize;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// Part of every answer.
    pub greeting: String,
    /// Time before every answer.
    #[serde(default)]
    pub delay_ms: u64,
}

/// Tells one content of a file from another without reading it.
type Stamp = (u64, i64, i64, i64, i64, u64);

/// The file and what it last said.
#[derive(Debug)]
pub struct SettingsFile {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    last: Result<Settings, String>,
}

impl SettingsFile {
    /// Without a file the settings are fixed.
    pub fn new(path: Option<PathBuf>) -> Self {
        let fixed = Settings {
            greeting: "hello".to_owned(),
            delay_ms: 0,
        };
        Self {
            path,
            stamp: None,
            last: Ok(fixed),
        }
    }

    /// What the file says now, or what is wrong with it.
    pub fn current(&mut self) -> Result<Settings, String> {
        let Some(path) = &self.path else {
            return self.last.clone();
        };
        let stamp = match fs::metadata(path) {
            Ok(meta) => (
                meta.ino(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
                meta.size(),
            ),
            Err(error) => {
                self.stamp = None;
                self.last = Err(format!("{}: {error}", path.display()));
                return self.last.clone();
            }
        };
        if self.stamp != Some(stamp) {
            self.last = fs::read(path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
                .map_err(|error| format!("{}: {error}", path.display()));
            self.stamp = Some(stamp);
        }
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_or_missing_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.json");
        let mut file = SettingsFile::new(Some(path.clone()));
        assert!(file.current().unwrap_err().contains("shop.json"));
        fs::write(&path, r#"{"greeting": "hi"}"#).unwrap();
        assert_eq!(file.current().unwrap().greeting, "hi");
        fs::write(&path, r#"{"greeting": "#).unwrap();
        assert!(file.current().is_err());
        fs::write(&path, r#"{"greeting": "back", "delay_ms": 3}"#).unwrap();
        assert_eq!(file.current().unwrap().delay_ms, 3);
    }
}
