//! What a test needs of the machine. What is missing is written down and listed as NOT RUN; with
//! `GRACE_FULL` it fails.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// The program, or none after writing down that `test` did not run.
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
pub fn as_root(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    // A second run of the same tests as an ordinary user is not missing anything.
    if !root && std::env::var_os("GRACE_AS_USER").is_none() {
        not_run(test, "it needs root; run the tests as root");
    }
    root
}

fn not_run(test: &str, why: &str) {
    let line = format!("{test}: {why}");
    assert!(std::env::var_os("GRACE_FULL").is_none(), "NOT RUN: {line}");
    eprintln!("NOT RUN: {line}");
    if let Some(file) = std::env::var_os("GRACE_NOT_RUN")
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(file)
    {
        let _ = writeln!(file, "{line}");
    }
}
