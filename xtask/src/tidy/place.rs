//! Where things are built and what end-to-end tests may not say: one target directory for both
//! workspaces, and no port of a test's own choosing.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::output;

/// That cargo, started by hand in either workspace, builds into the same directory.
pub fn one_target(faults: &mut Vec<String>) -> Result<()> {
    let host = target_of(&mut crate::command::cargo())?;
    let plugins = target_of(&mut crate::command::cargo_of_plugins())?;
    if host != plugins {
        faults.push(format!(
            "two target directories: {} and {}; plugins/.cargo/config.toml names the one of the host",
            host.display(),
            plugins.display()
        ));
    }
    Ok(())
}

fn target_of(cargo: &mut std::process::Command) -> Result<PathBuf> {
    cargo
        .args(["metadata", "--format-version=1", "--no-deps"])
        .env_remove("CARGO_TARGET_DIR");
    let value: Value = serde_json::from_str(&output(cargo)?)?;
    let dir = value["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    Ok(plain(Path::new(dir)))
}

/// Without `..`; the directory need not exist.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// Places in an end-to-end test that name a port to listen on: two tests, or two runs of one,
/// would meet there.
pub fn fixed_ports(file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let listens = line.contains("listen") || line.contains("bind");
        let fixed = ["127.0.0.1:", "0.0.0.0:", "localhost:"]
            .iter()
            .flat_map(|host| line.split(host).skip(1))
            .any(|rest| rest.starts_with(|c: char| ('1'..='9').contains(&c)));
        if listens && fixed {
            faults.push(format!(
                "{}:{}: a test listens on port 0 and asks which one it got",
                file.display(),
                number + 1
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_and_host_have_one_target_directory() {
        let mut faults = Vec::new();
        one_target(&mut faults).unwrap();
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(plain(Path::new("/a/b/../c")), Path::new("/a/c"));
    }

    #[test]
    fn a_test_that_chooses_its_port_is_a_fault() {
        let faults = |text: &str| fixed_ports(Path::new("tests/cases/x.rs"), text).len();
        assert_eq!(faults("listen = \"127.0.0.1:0\""), 0);
        assert_eq!(faults("listen = \"127.0.0.1:8080\""), 1);
        assert_eq!(faults("TcpListener::bind(\"127.0.0.1:80\")"), 1);
        assert_eq!(faults("bind 127.0.0.1:{port}"), 0);
    }
}
