//! What a failed run says: the error, where it came up, which tests failed, which names were
//! unknown. Reads output of Python, node and cargo; guesses nothing that is not written there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::project::Project;
use crate::workspace::{Run, Status};

/// A place that the output names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// The file's number.
    pub file: usize,
    /// From 1.
    pub line: usize,
}

/// What went wrong.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    /// All that was printed.
    pub output: String,
    /// It did not end.
    pub hang: bool,
    /// The error's class, of the last traceback.
    pub error: Option<String>,
    /// The sentence that names it.
    pub message: String,
    /// In the order of the output.
    pub frames: Vec<Frame>,
    /// Names that were not known.
    pub unknown: Vec<String>,
    /// An error was expected and did not come.
    pub not_raised: bool,
    /// Tests that failed, by name.
    pub failing: BTreeSet<String>,
    /// Tests that passed, as far as the output names them.
    pub passing: BTreeSet<String>,
}

/// A pattern that is known to be one.
macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern!(PYTHON_FRAME, r#"File "([^"]+)", line (\d+)"#);
pattern!(
    PLACE,
    r"((?:file://)?[\w./@+-]+\.(?:py|js|mjs|cjs|jsx|rs|json|ya?ml|toml)):(\d+)"
);
pattern!(
    ERROR,
    r"(?m)^(?:E\s+)?(?:Uncaught )?(?:[\w.]+\.)?([A-Z]\w*(?:Error|Exception|Warning|Iteration|Exit|Interrupt|Expired|NotFound))\b(?: \[\w+\])?:? ?(.*)$"
);
pattern!(PANIC, r"(?m)panicked at [^\n]*:\n(.+)$");
pattern!(UNITTEST, r"(?m)^(?:FAIL|ERROR): (\w+)");
pattern!(PYTEST, r"(?m)^FAILED \S*::(\w+)");
pattern!(
    CARGO,
    r"(?m)^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED)"
);
pattern!(TAP, r"(?m)^\s*(not ok|ok) \d+ - (.+?)\s*$");
pattern!(SPEC, r"(?m)^\s*([✖✔✓✗×]) (.+?)(?: \([\d.]+m?s\))?\s*$");
pattern!(
    VERBOSE,
    r"(?m)^(\w+) \([^)]*\)(?:\n[^\n]*)? \.\.\. (ok|FAIL|ERROR)$"
);
pattern!(
    PLAIN,
    r"(?mi)^\s*(ok|pass|passed|fail|failed|not ok)\b[:\s-]+(\S.*?)\s*$"
);
pattern!(
    UNKNOWN,
    r#"(?:name|attribute|named|value|function|method|field|variable|import name|identifier|item|type) ['`"](\w+)['`"]|(\w+) is not (?:defined|a function|a constructor)|KeyError: ['"]([^'"]+)['"]|keyword argument '(\w+)'"#
);

impl Failure {
    /// Reads a run's output.
    #[must_use]
    pub fn read(run: &Run, project: &Project) -> Self {
        let output = plain(&run.output);
        let mut failure = Self {
            hang: run.status == Status::TimedOut,
            ..Self::default()
        };
        for (pattern, _) in [(&PYTHON_FRAME, 0), (&PLACE, 1)] {
            for found in all(pattern, &output) {
                let file = found.first().and_then(|path| project.find(path));
                let line = found.get(1).and_then(|line| line.parse().ok());
                if let (Some(file), Some(line)) = (file, line) {
                    let frame = Frame { file, line };
                    if !failure.frames.contains(&frame) {
                        failure.frames.push(frame);
                    }
                }
            }
        }
        let errors = all(&ERROR, &output);
        // What the program says counts more than what the test says about it.
        let own = errors
            .iter()
            .rfind(|found| found.first().is_some_and(|name| name != "AssertionError"));
        if let Some(found) = own.or(errors.last()) {
            failure.error = found.first().cloned();
            failure.message = found.join(": ");
        } else if let Some(found) = all(&PANIC, &output).first() {
            failure.message = found.join(" ");
        }
        for found in all(&UNKNOWN, &output) {
            for name in found.into_iter().filter(|name| !name.is_empty()) {
                if !failure.unknown.contains(&name) {
                    failure.unknown.push(name);
                }
            }
        }
        failure.not_raised = [
            "not raised",
            "DID NOT RAISE",
            "Missing expected exception",
            "Missing expected rejection",
            "did not throw",
            "test did not panic as expected",
            "expected an error",
            "to throw",
            "called `Result::unwrap_err()` on an `Ok` value",
            "should have raised",
            "should raise",
            "expected exception",
        ]
        .iter()
        .any(|word| output.contains(word));
        failure.tests(&output);
        failure.output = output;
        failure
    }

    fn tests(&mut self, output: &str) {
        for pattern in [&UNITTEST, &PYTEST] {
            for mut found in all(pattern, output) {
                self.failing.append(&mut found.drain(..1).collect());
            }
        }
        for (pattern, name, state) in [
            (&CARGO, 0, 1),
            (&TAP, 1, 0),
            (&SPEC, 1, 0),
            (&VERBOSE, 0, 1),
            (&PLAIN, 1, 0),
        ] {
            for found in all(pattern, output) {
                let (Some(name), Some(state)) = (found.get(name), found.get(state)) else {
                    continue;
                };
                let state = state.to_ascii_lowercase();
                if matches!(state.as_str(), "ok" | "✔" | "✓" | "pass" | "passed") {
                    self.passing.insert(name.clone());
                } else {
                    self.failing.insert(name.clone());
                }
            }
        }
        self.passing.retain(|name| !self.failing.contains(name));
    }

    /// Whether the output has this word.
    #[must_use]
    pub fn says(&self, word: &str) -> bool {
        self.output.contains(word)
    }

    /// In one line: the message, or the last line of the output.
    #[must_use]
    pub fn short(&self) -> String {
        let text = if self.hang {
            "the command did not end in time"
        } else if self.message.is_empty() {
            self.output
                .lines()
                .rfind(|line| !line.trim().is_empty())
                .unwrap_or("the command failed and printed nothing")
        } else {
            &self.message
        };
        text.trim().chars().take(160).collect()
    }
}

/// Without the colours that some runners print all the same.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("\x1b[") {
        out.push_str(head);
        let end = tail
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or(tail.len(), |at| at + 1);
        rest = tail.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The groups of all places where a pattern fits, empty ones as empty texts.
fn all(pattern: &LazyLock<Option<Regex>>, text: &str) -> Vec<Vec<String>> {
    let Some(pattern) = LazyLock::force(pattern) else {
        return Vec::new();
    };
    pattern
        .captures_iter(text)
        .map(|found| {
            found
                .iter()
                .skip(1)
                .map(|group| group.map_or(String::new(), |group| group.as_str().to_owned()))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(output: &str, files: &[&str]) -> Failure {
        let texts = files
            .iter()
            .map(|path| (std::path::PathBuf::from(path), "x".into()))
            .collect();
        let run = Run {
            status: Status::Exited(1),
            output: output.to_owned(),
            took: Duration::ZERO,
        };
        Failure::read(&run, &Project::new(texts, ""))
    }

    #[test]
    fn all_patterns_are_patterns() {
        for pattern in [
            &PYTHON_FRAME,
            &PLACE,
            &ERROR,
            &PANIC,
            &UNITTEST,
            &PYTEST,
            &CARGO,
            &TAP,
            &SPEC,
            &VERBOSE,
            &PLAIN,
            &UNKNOWN,
        ] {
            assert!(LazyLock::force(pattern).is_some());
        }
    }

    #[test]
    fn a_traceback_of_python_gives_places_error_and_tests() {
        let found = read(
            "ERROR: test_a (test_shop.T.test_a)\nTraceback (most recent call last):\n  File \"/tmp/x/shop.py\", line 7, in total\n    d['x']\nKeyError: 'x'\n\nRan 3 tests",
            &["shop.py", "test_shop.py"],
        );
        assert_eq!(found.frames, [Frame { file: 0, line: 7 }]);
        assert_eq!(found.error.as_deref(), Some("KeyError"));
        assert!(found.failing.contains("test_a") && found.unknown.contains(&"x".to_owned()));
    }

    #[test]
    fn a_stack_of_node_and_a_panic_of_rust_give_places() {
        let node = read(
            "not ok 1 - adds\nok 2 - subtracts\nTypeError: Cannot read properties of undefined (reading 'a')\n    at f (/tmp/x/lib/cart.js:12:5)\n",
            &["lib/cart.js"],
        );
        assert_eq!(node.frames, [Frame { file: 0, line: 12 }]);
        assert!(node.failing.contains("adds") && node.passing.contains("subtracts"));
        let rust = read(
            "test adds ... FAILED\ntest works ... ok\nthread 'adds' panicked at src/lib.rs:3:9:\nattempt to subtract with overflow\n",
            &["src/lib.rs"],
        );
        assert_eq!(rust.frames, [Frame { file: 0, line: 3 }]);
        assert_eq!(rust.message, "attempt to subtract with overflow");
        assert!(rust.failing.contains("adds") && rust.passing.contains("works"));
    }

    #[test]
    fn colours_are_not_read() {
        assert_eq!(plain("\x1b[31mred\x1b[0m plain"), "red plain");
    }
}
