//! The dependency tree against `deny.toml`: licences, banned crates, wildcards and sources, from
//! `cargo metadata`. It looks nothing up: advisories are for `cargo deny`, which reads the same
//! file.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::licence;
use crate::command::{cargo, cargo_of_plugins, output, root};

/// Where crates come from unless `deny.toml` allows more.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What `deny.toml` says, as far as it is enforced here.
#[derive(Debug, Default)]
struct Rules {
    targets: Vec<String>,
    licences: Vec<String>,
    /// Name and reason.
    banned: Vec<(String, String)>,
}

/// Both workspaces.
pub fn check(faults: &mut Vec<String>) -> Result<()> {
    let rules = Rules::read(&fs::read_to_string(root().join("deny.toml"))?)?;
    for mut command in [cargo(), cargo_of_plugins()] {
        command.args(["metadata", "--format-version=1"]);
        for target in &rules.targets {
            command.args(["--filter-platform", target]);
        }
        let metadata = serde_json::from_str(&output(&mut command)?)?;
        faults.extend(rules.faults(&metadata));
    }
    Ok(())
}

impl Rules {
    fn read(text: &str) -> Result<Self> {
        let file: Value = toml::from_str(text).context("deny.toml is no TOML")?;
        let words = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|word| Some(word.as_str()?.to_owned()))
                .collect()
        };
        let banned = file["bans"]["deny"].as_array().into_iter().flatten();
        Ok(Self {
            targets: words(&file["graph"]["targets"]),
            licences: words(&file["licenses"]["allow"]),
            banned: banned
                .map(|one| {
                    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
                    (text("crate"), text("reason"))
                })
                .collect(),
        })
    }

    fn faults(&self, metadata: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let name = package["name"].as_str().unwrap_or_default();
            let version = package["version"].as_str().unwrap_or_default();
            let ours = package["source"].is_null();
            let mut fault =
                |text: String| faults.push(format!("deny.toml: {name} {version}: {text}"));
            let expression = package["license"].as_str().unwrap_or_default();
            if !licence::allowed(expression, &self.licences) {
                fault(format!("the licence {expression:?} is not allowed"));
            }
            if let Some((_, reason)) = self.banned.iter().find(|(banned, _)| banned == name) {
                fault(format!("is banned: {reason}"));
            }
            if !ours && package["source"] != REGISTRY {
                fault(format!("comes from {}", package["source"]));
            }
            for dep in package["dependencies"].as_array().into_iter().flatten() {
                // A path has no version to write down.
                if ours && dep["req"] == "*" && dep["path"].is_null() {
                    fault(format!("names {} in any version", dep["name"]));
                }
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"bad\", reason = \"it is bad\" }]\n";

    fn package(name: &str, licence: &str, source: Value, dependencies: Value) -> Value {
        json!({ "name": name, "version": "1.0.0", "license": licence, "source": source, "dependencies": dependencies })
    }

    #[test]
    fn a_licence_a_crate_a_source_or_a_version_that_is_not_allowed_is_a_fault() {
        let rules = Rules::read(RULES).unwrap();
        let good = package("good", "MIT OR GPL-3.0-only", json!(REGISTRY), json!([]));
        let path = json!([{ "name": "good", "req": "*", "path": "/good" }]);
        let wildcard = json!([{ "name": "good", "req": "*" }]);
        assert_eq!(
            rules.faults(&json!({ "packages": [good, package("ours", "MIT", Value::Null, path)] })),
            Vec::<String>::new()
        );
        let cases = [
            (
                package("x", "GPL-3.0-only", json!(REGISTRY), json!([])),
                "GPL-3.0-only",
            ),
            (package("x", "", json!(REGISTRY), json!([])), "licence"),
            (
                package("bad", "MIT", json!(REGISTRY), json!([])),
                "it is bad",
            ),
            (
                package("x", "MIT", json!("git+https://example.org/x"), json!([])),
                "example.org",
            ),
            (package("x", "MIT", Value::Null, wildcard), "any version"),
        ];
        for (package, word) in cases {
            let faults = rules.faults(&json!({ "packages": [package] }));
            assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
        }
    }

    #[test]
    fn the_rules_of_this_checkout_are_read() {
        let rules = Rules::read(include_str!("../../../deny.toml")).unwrap();
        assert!(rules.licences.contains(&"Apache-2.0".to_owned()));
        assert!(rules.banned.iter().any(|(name, _)| name == "openssl"));
        assert!(rules.targets.len() >= 2);
    }
}
