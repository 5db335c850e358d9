//! Which variables the command gets: what interpreters and compilers need, and no others, so
//! that no secret of the caller's reaches the program under test.

use std::ffi::{OsStr, OsString};

/// Names that pass.
const NAMES: [&str; 22] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "NODE_PATH",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
    "CC",
    "JAVA_HOME",
    "LD_LIBRARY_PATH",
    "NVM_DIR",
    "XDG_CACHE_HOME",
];
/// Beginnings that pass.
const BEGINNINGS: [&str; 3] = ["LC_", "PYENV_", "UV_PYTHON"];

/// The variables of a caller that the command gets, with those that make its runs alike.
#[must_use]
pub fn variables(caller: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let passes = |name: &OsStr| {
        let name = name.to_string_lossy();
        NAMES.iter().any(|one| *one == name) || BEGINNINGS.iter().any(|head| name.starts_with(head))
    };
    let mut all: Vec<_> = caller
        .iter()
        .filter(|(name, _)| passes(name))
        .cloned()
        .collect();
    for (name, value) in [
        ("TMPDIR", "/tmp"),
        // Bytecode is judged by size and second: two candidates in one second look the same.
        ("PYTHONDONTWRITEBYTECODE", "1"),
        // Sets and hashes go through in the same order in every run.
        ("PYTHONHASHSEED", "0"),
        ("CARGO_NET_OFFLINE", "true"),
        ("CARGO_TERM_COLOR", "never"),
        // Line numbers are enough, and link in half the time.
        ("CARGO_PROFILE_DEV_DEBUG", "0"),
        ("CARGO_PROFILE_TEST_DEBUG", "0"),
        ("NO_COLOR", "1"),
        ("FORCE_COLOR", "0"),
        ("CI", "true"),
    ] {
        all.push((name.into(), value.into()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interpreter_needs_passes_and_a_secret_does_not() {
        let caller: Vec<(OsString, OsString)> =
            [("PATH", "/bin"), ("API_KEY", "secret"), ("LC_ALL", "C")]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
        let found = variables(&caller);
        assert!(found.iter().any(|(name, _)| name == "PATH"));
        assert!(found.iter().any(|(name, _)| name == "LC_ALL"));
        assert!(!found.iter().any(|(_, value)| value == "secret"));
    }
}
