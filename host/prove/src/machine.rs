//! What this machine does not give, asked of `grace doctor`, which tries each primitive.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

/// What `grace doctor` says of every primitive it tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Kernel, for the report.
    pub kernel: String,
    looks: Vec<Look>,
}

/// One primitive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    what: String,
    given: bool,
    found: String,
}

impl Machine {
    /// Asks.
    ///
    /// # Errors
    /// When the doctor cannot be asked.
    pub fn ask(grace: &Path, empty: &Path) -> Result<Self> {
        let output = Command::new(grace)
            .args(["doctor", "--json", "--state"])
            .arg(empty)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", grace.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let document: Value =
            serde_json::from_str(text.trim()).context("`grace doctor --json` printed no JSON")?;
        Ok(Self::read(&document))
    }

    fn read(document: &Value) -> Self {
        let word = |look: &Value, key: &str| look[key].as_str().unwrap_or_default().to_owned();
        let checks = document["checks"].as_array().into_iter().flatten();
        let looks: Vec<Look> = checks
            .map(|look| Look {
                what: word(look, "what"),
                given: look["verdict"] == "good",
                found: word(look, "found"),
            })
            .collect();
        let kernel = looks.iter().find(|look| look.what == "kernel");
        Self {
            kernel: kernel.map(|look| look.found.clone()).unwrap_or_default(),
            looks,
        }
    }

    /// The first of these primitives that is not given, and why. One that the doctor does not
    /// know is none: then the trial is made, and says what it saw.
    pub fn missing(&self, needs: &[&str]) -> Option<(String, String)> {
        let look = self
            .looks
            .iter()
            .find(|look| !look.given && needs.contains(&look.what.as_str()))?;
        Some((look.what.clone(), look.found.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_doctor_found_absent_is_missing() {
        let machine = Machine::read(&json!({ "checks": [
            { "what": "kernel", "verdict": "fact", "found": "Linux 6.1" },
            { "what": "landlock", "verdict": "good", "found": "works" },
            { "what": "seccomp", "verdict": "less", "found": "not in this kernel" },
        ]}));
        assert_eq!(machine.kernel, "Linux 6.1");
        assert_eq!(machine.missing(&["landlock", "unheard of"]), None);
        assert_eq!(
            machine.missing(&["landlock", "seccomp"]),
            Some(("seccomp".to_owned(), "not in this kernel".to_owned()))
        );
    }
}
