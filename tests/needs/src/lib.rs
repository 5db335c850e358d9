//! What a test needs of the machine. What is missing is written down for `cargo xtask test`, which
//! lists it as NOT RUN; with `GRACE_FULL` it fails the test. For tests only, of any crate.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The program, or none after writing down that `test` did not run.
#[must_use]
pub fn tool(test: &str, program: &str, how: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        not_run(test, &format!("{program} is missing; get it by: {how}"));
    }
    found
}

/// Whether we are root; if not, `test` is written down as not run.
#[must_use]
pub fn as_root(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    // A second run of the same tests as an ordinary user is not missing anything.
    if !root && std::env::var_os("GRACE_AS_USER").is_none() {
        not_run(test, "it needs root; run the tests as root");
    }
    root
}

/// Writes down that `test` did not run, why, and how it would.
///
/// # Panics
/// With `GRACE_FULL`, where every test has to run.
pub fn not_run(test: &str, why: &str) {
    let line = format!("{test}: {why}");
    assert!(std::env::var_os("GRACE_FULL").is_none(), "NOT RUN: {line}");
    eprintln!("NOT RUN: {line}");
    if let Some(file) = std::env::var_os("GRACE_NOT_RUN")
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(file)
    {
        let _ = writeln!(file, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Not a test by itself: it runs with the variables that are being tested.
    #[test]
    #[ignore = "it is run by the test below"]
    fn misses_a_tool() {
        assert_eq!(tool("the_test", "no-such-tool", "a miracle"), None);
    }

    #[test]
    fn what_is_missing_is_written_down_and_fails_when_everything_has_to_run() {
        let file = std::env::temp_dir().join(format!("grace-needs-{}", std::process::id()));
        let child = |full: bool| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--ignored", "--exact", "tests::misses_a_tool"])
                .env("GRACE_NOT_RUN", &file)
                .env_remove("GRACE_FULL");
            if full {
                command.env("GRACE_FULL", "1");
            }
            command.output().unwrap().status.success()
        };
        assert!(child(false));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            text,
            "the_test: no-such-tool is missing; get it by: a miracle\n"
        );
        assert!(!child(true));
        assert!(tool("a_test", "sh", "").is_some());
    }
}
